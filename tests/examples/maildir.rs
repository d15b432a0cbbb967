//! A mail server on threads that stores what it gets in a Maildir: `cargo run --example maildir [-- ADDR:PORT FOLDER]`.
//!
//! It takes mail for one domain and answers 250 only when the message is on the disk. The Maildir itself is in
//! `tests/src/maildir.rs`, the fields that are put in front in `tests/src/trace.rs`: take what you can use.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use smtp_blocking::{Handler, Server};
use smtp_proto::server::{Config, Connection, Decision, Mail, NOT_STORED, Recipient, ResetReason, Session};
use smtp_proto::wire::{Domain, ForwardPath, Reply, ReversePath};
use smtp_tests::maildir::{Draft, Maildir};
use smtp_tests::trace;

const HOSTNAME: &str = "mail.example.net";
const DOMAIN: &str = "example.net";
const NO_RELAY: Reply = Reply::from_static("550 5.7.1 No relaying");

/// The application's side of one session.
struct Delivery {
    maildir: Maildir,
    domain: Domain,
    peer: Option<IpAddr>,
    reverse_path: ReversePath,
    recipients: Vec<ForwardPath>,
    draft: Option<Draft>,
}

impl Delivery {
    fn new(maildir: &Maildir, domain: &Domain, connection: &Connection) -> Self {
        Self {
            maildir: maildir.clone(),
            domain: domain.clone(),
            peer: connection.peer.map(|peer| peer.ip()),
            reverse_path: ReversePath::Null,
            recipients: Vec::new(),
            draft: None,
        }
    }

    fn begin(&self, session: &Session) -> io::Result<Draft> {
        let Self { peer, reverse_path, recipients, .. } = self;
        let fields = trace::fields(session, *peer, HOSTNAME, reverse_path, recipients, SystemTime::now());
        let mut draft = self.maildir.draft()?;
        draft.write(fields.as_bytes())?;
        Ok(draft)
    }
}

impl Handler for Delivery {
    fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        self.reverse_path = mail.reverse_path;
        self.recipients.clear();
        Decision::Accept
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        // The postmaster has no domain, and has to be there.
        let mailbox = recipient.forward_path.mailbox();
        if mailbox.is_some_and(|mailbox| *mailbox.domain() != self.domain) {
            return NO_RELAY.into();
        }
        self.recipients.push(recipient.forward_path);
        Decision::Accept
    }

    fn data(&mut self, session: &Session) -> Decision {
        match self.begin(session) {
            Ok(draft) => self.draft = Some(draft),
            Err(error) => return error.into(),
        }
        Decision::Accept
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        match self.draft.as_mut().map(|draft| draft.write(&content)) {
            Some(Err(error)) => error.into(),
            Some(Ok(())) | None => Decision::Accept,
        }
    }

    fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        match self.draft.take().map(Draft::keep) {
            Some(Ok(file)) => {
                println!("{}", file.display());
                Decision::Accept
            }
            Some(Err(error)) => error.into(),
            None => NOT_STORED.into(),
        }
    }

    fn reset(&mut self, _: &Session, _: ResetReason) {
        // A draft that is dropped is gone.
        self.draft = None;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or("127.0.0.1:2525".to_owned());
    let folder = arguments.next().map_or_else(|| std::env::temp_dir().join("smtp-maildir"), PathBuf::from);
    let (maildir, domain) = (Maildir::open(folder)?, DOMAIN.parse()?);
    let server = Server::new().bind(listen, Config::new(HOSTNAME)?)?;
    println!("listening on {}, storing mail for {domain}", server.local_addresses()[0]);
    server.serve(|connection| Delivery::new(&maildir, &domain, connection));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use smtp_proto::client::Envelope;

    use super::*;

    #[test]
    fn mail_for_the_domain_is_stored_with_its_trace_and_no_other_is() -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let (maildir, domain) = (Maildir::open(folder.path())?, DOMAIN.parse()?);
        let server = Server::new().bind("127.0.0.1:0", Config::new(HOSTNAME)?)?;
        let (address, handle) = (server.local_addresses()[0].to_string(), server.handle());
        let server = thread::spawn(move || server.serve(|connection| Delivery::new(&maildir, &domain, connection)));

        let mut client = smtp_blocking::Client::connect(&address, smtp_tests::in_clear("client.example.org"))?;
        let envelope = Envelope::new("jane@example.org", ["joe@EXAMPLE.net", "ann@example.com"])?;
        let outcome = client.send(envelope, "Subject: Hi\r\n\r\nHello!\r\n")?;
        client.quit()?;
        handle.shut_down();
        server.join().map_err(|_| "the server panicked")?;

        assert!(outcome.recipients[0].is_accepted());
        assert_eq!(outcome.recipients[1].reply(), Some(&NO_RELAY));
        let files: Vec<_> = fs::read_dir(folder.path().join("new"))?.collect::<io::Result<_>>()?;
        let [file] = files.as_slice() else { return Err(format!("{files:?}").into()) };
        let stored = fs::read_to_string(file.path())?;
        let from = "Received: from client.example.org ([127.0.0.1])\r\n\tby mail.example.net with ESMTP\r\n";
        assert!(
            stored.starts_with(&format!("Return-Path: <jane@example.org>\r\n{from}\tfor <joe@EXAMPLE.net>;\r\n\t"))
        );
        assert!(stored.ends_with("\r\nSubject: Hi\r\n\r\nHello!\r\n"), "{stored}");
        Ok(())
    }
}
