//! Either machine.

use bytes::BytesMut;
use smtp_proto::client::{self, Client};
use smtp_proto::sasl::ChannelBinding;
use smtp_proto::server::{self, Server, Shutdown};
use smtp_proto::{ApiMisuse, Error, Instant, Machine, Output, Step, TlsInfo};

use super::script::Handshake;

pub(super) enum Role {
    Server(Box<Server>),
    Client(Box<Client>),
}

pub(super) enum Happened {
    Server(server::Event),
    Client(client::Event),
}

impl Role {
    pub(super) fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Step<Happened>, Error> {
        fn wrap<E>(step: Step<E>, event: impl FnOnce(E) -> Happened) -> Step<Happened> {
            match step {
                Step::Event(happened) => Step::Event(event(happened)),
                Step::Write => Step::Write,
                Step::Read => Step::Read,
                Step::Decide => Step::Decide,
                Step::UpgradeTls => Step::UpgradeTls,
                Step::Close => Step::Close,
            }
        }
        match self {
            Self::Server(server) => server.step(now, rx).map(|step| wrap(step, Happened::Server)),
            Self::Client(client) => client.step(now, rx).map(|step| wrap(step, Happened::Client)),
        }
    }

    pub(super) fn output(&mut self) -> &mut Output {
        match self {
            Self::Server(server) => server.output(),
            Self::Client(client) => client.output(),
        }
    }

    pub(super) fn peer_closed(&mut self) {
        match self {
            Self::Server(server) => server.peer_closed(),
            Self::Client(client) => client.peer_closed(),
        }
    }

    pub(super) fn connection_lost(&mut self) {
        match self {
            Self::Server(server) => server.connection_lost(),
            Self::Client(client) => client.connection_lost(),
        }
    }

    pub(super) fn write_failed(&mut self) {
        match self {
            Self::Server(server) => server.write_failed(),
            Self::Client(client) => client.write_failed(),
        }
    }

    pub(super) fn tls(&mut self, rx: &mut BytesMut, handshake: Handshake) -> Result<(), ApiMisuse> {
        let mut facts = TlsInfo::new("TLSv1.3", "TLS_AES_256_GCM_SHA384");
        facts.verified = matches!(self, Self::Client(_)) && handshake != Handshake::Unverified;
        if matches!(handshake, Handshake::Bound | Handshake::Unverified) {
            facts.channel_bindings.push(ChannelBinding::tls_exporter([7; 32]));
        }
        match self {
            Self::Server(server) if handshake == Handshake::Failed => server.tls_failed(),
            Self::Client(client) if handshake == Handshake::Failed => client.tls_failed(),
            Self::Server(server) => server.tls_established(rx, facts)?,
            Self::Client(client) => client.tls_established(rx, facts)?,
        }
        Ok(())
    }

    pub(super) fn server(&mut self) -> Result<&mut Server, &'static str> {
        match self {
            Self::Server(server) => Ok(server),
            Self::Client(_) => Err("this is a client"),
        }
    }

    pub(super) fn application_failed(&mut self) {
        if let Self::Server(server) = self {
            server.application_failed();
        }
    }

    pub(super) fn shut_down(&mut self, shutdown: Shutdown) {
        if let Self::Server(server) = self {
            server.shut_down(shutdown);
        }
    }
}
