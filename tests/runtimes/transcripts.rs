//! Transcripts of clients and servers: whose line it is, when, and nothing that is secret.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use smtp_proto::adapter;
use smtp_proto::client::Authentication;
use smtp_proto::sasl::{self, Login};
use smtp_proto::transcript::to_writer;
use smtp_tests::recorder::{Options, Recorder};
use smtp_tests::runtime::{self, Runtime, Service};

use super::support::{client_config, envelope, on_tokio, server_config};

const PASSWORD: &str = "correct horse battery staple";

/// What was written, by all clones.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<u8>>>);

impl Record {
    /// Number, time and words of each line.
    fn lines(&self) -> Vec<(u64, String, String)> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let line = |line: &str| {
            let [session, at, said] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
            (session.parse().unwrap(), at.to_owned(), said.to_owned())
        };
        text.lines().map(line).collect()
    }

    /// The words of a session, those of the client first: server and client do not see them in the same order.
    fn session(&self, number: u64) -> Vec<String> {
        let mut lines: Vec<_> = self.lines().into_iter().filter(|line| line.0 == number).map(|line| line.2).collect();
        lines.sort_by_key(|line| line.starts_with("S: "));
        lines
    }
}

impl Write for Record {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

/// Two sessions at the same time by two clones of a connector, each with a login and a message.
fn two_sessions(runtime: Runtime, server: &str, record: impl Write + Send + 'static) {
    let mut config = client_config();
    config.allow_clear_text_auth = true;
    let login = Login::password("jane", PASSWORD).unwrap().mechanisms([sasl::PLAIN]);
    config.authentication = Authentication::Required(login);
    macro_rules! two_sessions {
        ($adapter:ident $($wait:tt)*) => {{
            let connector = $adapter::Connector::new(config).transcript(to_writer(record));
            let mut first = connector.clone().connect(server)$($wait)*.unwrap();
            let mut second = connector.connect(server)$($wait)*.unwrap();
            for (client, recipient) in [(&mut second, "ann"), (&mut first, "joe")] {
                let outcome = client.send(envelope("jane", &[recipient]), "Subject: Hi\r\n")$($wait)*.unwrap();
                assert!(outcome.is_delivered(), "{outcome:?}");
            }
            second.quit()$($wait)*.unwrap();
            first.quit()$($wait)*.unwrap();
        }};
    }
    match runtime {
        Runtime::Tokio => on_tokio(async { two_sessions!(smtp_tokio.await) }),
        Runtime::AsyncStd => async_std::task::block_on(async { two_sessions!(smtp_async_std.await) }),
        Runtime::Blocking => two_sessions!(smtp_blocking),
    }
}

fn serve(runtime: Runtime, record: impl Write + Send + 'static) -> Service {
    let mut config = server_config();
    config.mechanisms = vec![sasl::PLAIN];
    config.allow_clear_text_auth = true;
    let service = adapter::Service::new(config).transcript(to_writer(record));
    let options = Arc::new(Options { users: vec![("jane".to_owned(), PASSWORD.into())], ..Options::default() });
    let listening = runtime::Options::new().at("127.0.0.1:0", service);
    Service::start_with(runtime, listening, move |connection| Recorder::new(&options, connection)).unwrap()
}

fn both_sides_write_the_same_and_tell_sessions_apart(runtime: Runtime) {
    let (clients, servers) = (Record::default(), Record::default());
    let service = serve(runtime, servers.clone());
    two_sessions(runtime, &service.address().to_string(), clients.clone());
    service.shut_down();
    service.wait();
    for (number, recipient) in [(1, "joe"), (2, "ann")] {
        let said = clients.session(number);
        assert_eq!(said, servers.session(number));
        let recipients: Vec<_> = said.iter().filter(|line| line.starts_with("C: RCPT")).collect();
        assert!(matches!(recipients[..], [line] if line.contains(recipient)), "{said:?}");
        assert!(said.contains(&"C: AUTH PLAIN ***".to_owned()), "{said:?}");
        assert!(said.contains(&"C: QUIT".to_owned()), "{said:?}");
    }
    for record in [clients, servers] {
        let lines = record.lines();
        assert!(lines.iter().all(|(session, ..)| [1, 2].contains(session)), "{lines:?}");
        for number in [1, 2] {
            let times = lines.iter().filter(|line| line.0 == number);
            let times: Vec<f64> = times.map(|line| line.1.parse().unwrap()).collect();
            assert!(times.is_sorted() && times[0] < 60.0, "{times:?}");
        }
    }
}

fn a_transcript_that_cannot_be_written_changes_nothing(runtime: Runtime) {
    let service = serve(runtime, Full);
    two_sessions(runtime, &service.address().to_string(), Full);
    service.shut_down();
    service.wait();
    assert_eq!(service.handle().counts().messages, 2);
}

on_each_runtime!(
    both_sides_write_the_same_and_tell_sessions_apart,
    a_transcript_that_cannot_be_written_changes_nothing
);
