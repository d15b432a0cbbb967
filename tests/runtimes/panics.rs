//! Handlers that panic: their session ends with 421, and no other notices.

use std::panic::resume_unwind;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use smtp_blocking::Handler;
use smtp_proto::server::{CloseReason, Connection, Decision, Hello, Mail, Recipient, ResetReason, Session};
use smtp_proto::wire::Query;
use smtp_tests::runtime::{Options, Runtime, Service};

use super::support::{PATIENCE, Raw, server_config};

/// Tells which hook is called, and panics in one of them.
struct Panics {
    at: &'static str,
    session: u64,
    tell: Sender<(u64, &'static str)>,
}

impl Panics {
    fn called(&self, hook: &'static str) -> Decision {
        self.tell.send((self.session, hook)).unwrap();
        if hook == self.at {
            // As a panic, but the hook that reports panics stays quiet.
            resume_unwind(Box::new("the handler panics"));
        }
        Decision::Accept
    }
}

impl Handler for Panics {
    fn connected(&mut self, _: &Session) -> Decision {
        self.called("connected")
    }

    fn hello(&mut self, _: &Session, _: Hello) -> Decision {
        self.called("hello")
    }

    fn verify(&mut self, _: &Session, _: Query) -> Decision {
        self.called("verify")
    }

    fn mail(&mut self, _: &Session, _: Mail) -> Decision {
        self.called("mail")
    }

    fn recipient(&mut self, _: &Session, _: Recipient) -> Decision {
        self.called("recipient")
    }

    fn data(&mut self, _: &Session) -> Decision {
        self.called("data")
    }

    fn body(&mut self, _: &Session, _: Bytes) -> Decision {
        self.called("body")
    }

    fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        self.called("message_end")
    }

    fn reset(&mut self, _: &Session, _: ResetReason) {
        self.called("reset");
    }

    fn closing(&mut self, _: &Session, _: CloseReason) {
        self.called("closing");
    }
}

/// Which hook was called in which session.
type Told = Receiver<(u64, &'static str)>;

/// A server whose handlers panic where they are told to, in the order in which connections come.
fn server(runtime: Runtime) -> (Service, Arc<Mutex<&'static str>>, Told) {
    let (tell, told) = mpsc::channel();
    let at = Arc::new(Mutex::new(""));
    let next = Arc::clone(&at);
    let new_handler = move |connection: &Connection| {
        let at = *next.lock().unwrap();
        if at == "new_handler" {
            resume_unwind(Box::new("no handler today"));
        }
        Panics { at, session: connection.id, tell: tell.clone() }
    };
    let service = Service::start_with(runtime, Options::new().at("127.0.0.1:0", server_config()), new_handler);
    (service.unwrap(), at, told)
}

/// What a client says, a line at a time, so that every hook is called.
const DIALOGUE: [&str; 10] = [
    "EHLO client.example.org",
    "VRFY joe",
    "MAIL FROM:<jane@example.org>",
    "RSET",
    "MAIL FROM:<jane@example.org>",
    "RCPT TO:<joe@example.net>",
    "DATA",
    "Subject: x\r\n.",
    "NOOP",
    "QUIT",
];

/// Says it all, and gives the last reply.
fn last_reply(client: &mut Raw) -> String {
    let mut last = client.reply();
    for line in DIALOGUE {
        if last.starts_with("421") {
            break;
        }
        last = client.ask(line);
    }
    assert_eq!(client.line(), None, "behind {last}");
    last
}

const HOOKS: [&str; 10] =
    ["connected", "hello", "verify", "mail", "recipient", "data", "body", "message_end", "reset", "closing"];

fn a_panic_in_a_hook_ends_its_session_and_no_other(runtime: Runtime) {
    let (service, at, told) = server(runtime);
    let address = service.address().to_string();
    let mut neighbour = Raw::connect(&address);
    assert!(neighbour.reply().starts_with("220"));
    for command in ["EHLO client.example.org", "MAIL FROM:<>", "RCPT TO:<joe@example.net>"] {
        assert!(neighbour.ask(command).starts_with("250"));
    }
    for hook in HOOKS {
        *at.lock().unwrap() = hook;
        let last = last_reply(&mut Raw::connect(&address));
        match hook {
            // All is said by then.
            "closing" => assert!(last.starts_with("221"), "{last}"),
            // RFC 2034 section 4
            "connected" => assert_eq!(last, "421 Local error; try again later"),
            _ => assert_eq!(last, "421 4.3.0 Local error; try again later", "{hook}"),
        }
    }
    *at.lock().unwrap() = "";
    assert!(neighbour.ask("DATA").starts_with("354"));
    assert!(neighbour.ask("Subject: still here\r\n.").starts_with("250"));
    assert!(neighbour.ask("QUIT").starts_with("221"));
    drop(neighbour);
    service.shut_down();
    service.wait();

    let called: Vec<_> = told.try_iter().collect();
    for (number, hook) in HOOKS.iter().enumerate() {
        let session = called.iter().filter(|(session, _)| *session == number as u64 + 2);
        assert_eq!(session.map(|(_, hook)| hook).next_back(), Some(hook), "the handler is called after its panic");
    }
    let counts = service.handle().counts();
    assert_eq!((counts.failures, counts.sessions, counts.open), (HOOKS.len() as u64, HOOKS.len() as u64 + 1, 0));
    assert_eq!(counts.messages, 2, "the neighbour's, and that of the session that panicked at its end");
}

fn a_connection_without_a_handler_is_turned_away(runtime: Runtime) {
    let (service, at, told) = server(runtime);
    let address = service.address().to_string();
    *at.lock().unwrap() = "new_handler";
    for _ in 0..3 {
        let mut client = Raw::connect(&address);
        assert_eq!(client.line().as_deref(), Some("421 Local error; try again later"));
        assert_eq!(client.line(), None);
    }
    *at.lock().unwrap() = "";
    assert!(last_reply(&mut Raw::connect(&address)).starts_with("221"));
    assert_eq!(told.recv_timeout(PATIENCE), Ok((4, "connected")), "nothing before");
    let counts = service.handle().counts();
    assert_eq!((counts.turned_away, counts.failures, counts.sessions), (3, 3, 1));
}

on_each_runtime!(a_panic_in_a_hook_ends_its_session_and_no_other, a_connection_without_a_handler_is_turned_away,);
