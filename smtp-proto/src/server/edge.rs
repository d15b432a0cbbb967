//! What stands between a client and the server: PROXY headers, XCLIENT and XFORWARD; and clients that talk before the
//! greeting.

use alloc::vec::Vec;

use bytes::BytesMut;

use super::command::Question;
use super::event::{Abuse, CloseReason, Event};
use super::session::take_in;
use super::{Input, Server, State, replies};
use crate::machine::Step;
use crate::wire::{Attribute, ProxyHeader};

impl Server {
    /// Takes the PROXY header off `rx`. Nothing is said before it is there (PROXY-007).
    pub(super) fn next_proxy_header(&mut self, rx: &mut BytesMut) -> Option<Step<Event>> {
        match ProxyHeader::read(rx) {
            Ok(None) => return self.starved(),
            Ok(Some(header)) => {
                self.session.asserted.proxy = Some(header);
                self.since = self.now;
                self.state = State::Start;
            }
            Err(error) => self.end(CloseReason::Abuse(Abuse::ProxyHeader(error)), None),
        }
        None
    }

    /// Asks about the client, when it has had time to talk too early.
    pub(super) fn begin(&mut self, rx: &BytesMut) -> Option<Step<Event>> {
        let patience = self.config.timeouts.early_talkers;
        if !rx.is_empty() {
            self.session.pipelined_early = true;
            if !patience.is_zero() {
                self.events.push_back(Event::Abuse(Abuse::EarlyTalker));
            }
        } else if self.input == Input::Open && self.now < self.since.after(patience) {
            return Some(Step::Read);
        }
        self.since = self.now;
        self.ask(Question::Connect, Event::Connected);
        None
    }

    /// Whether the client may speak for others.
    pub(super) fn trusts_proxy(&self) -> bool {
        self.config.xclient || self.config.xforward
    }

    pub(super) fn xclient(&mut self, attributes: Vec<Attribute>) {
        match () {
            () if !self.config.xclient => self.wrong(&replies::NOT_TRUSTED),
            () if self.session.transaction.is_some() => self.wrong(&replies::IN_TRANSACTION),
            () => self.ask_junk(Question::Xclient(attributes.clone()), Event::Xclient(attributes)),
        }
    }

    /// The application agrees that the client speaks for another, who begins anew (PROXY-003).
    pub(super) fn become_other(&mut self, attributes: Vec<Attribute>) {
        self.session.begin_anew();
        take_in(attributes, &mut self.session.asserted.client);
        self.greet(None);
    }

    /// What is said here counts for one message (PROXY-005).
    pub(super) fn xforward(&mut self, attributes: Vec<Attribute>) {
        match () {
            () if !self.config.xforward => self.wrong(&replies::NOT_TRUSTED),
            () if self.session.transaction.is_some() => self.wrong(&replies::IN_TRANSACTION),
            () => {
                take_in(attributes, &mut self.session.asserted.forwarded);
                self.junk(&replies::OK);
            }
        }
    }
}
