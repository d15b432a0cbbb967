//! An LMTP delivery agent on a Unix socket, with threads: `cargo run --example lmtp [-- SOCKET FOLDER]`.
//!
//! Each folder in the folder is a user's Maildir. A message is stored for each of its recipients, and each gets a reply
//! of its own: one whose Maildir cannot be written keeps no other from their mail (RFC 2033 section 4.2).

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use smtp_blocking::{Handler, Server};
use smtp_proto::server::{Config, Decision, Mail, Recipient, ResetReason, Session};
use smtp_proto::wire::{ForwardPath, Reply, ReversePath};
use smtp_tests::maildir::{Draft, Maildir};
use smtp_tests::trace;

const HOSTNAME: &str = "mail.example.net";
const NO_USER: Reply = Reply::from_static("550 5.1.1 No such user");

/// The application's side of one session.
struct Delivery {
    folder: Arc<Path>,
    reverse_path: ReversePath,
    recipients: Vec<(ForwardPath, Maildir)>,
    /// One for each recipient: a message that is being written, or why it is not.
    drafts: Vec<io::Result<Draft>>,
}

impl Delivery {
    fn new(folder: &Arc<Path>) -> Self {
        let folder = Arc::clone(folder);
        Self { folder, reverse_path: ReversePath::Null, recipients: Vec::new(), drafts: Vec::new() }
    }

    /// The user's Maildir; `None` when there is no such user.
    fn maildir(&self, recipient: &ForwardPath) -> Option<io::Result<Maildir>> {
        let user = recipient.mailbox().map_or("postmaster", |mailbox| mailbox.local_part()).to_ascii_lowercase();
        // Nobody is to choose a path.
        let is_name = user.chars().all(|one| one.is_ascii_alphanumeric() || "-_".contains(one));
        let maildir = self.folder.join(&user);
        (is_name && maildir.is_dir()).then(|| Maildir::open(maildir))
    }

    fn begin(&self, session: &Session, recipient: &ForwardPath, maildir: &Maildir) -> io::Result<Draft> {
        let recipients = std::slice::from_ref(recipient);
        let fields = trace::fields(session, None, HOSTNAME, &self.reverse_path, recipients, SystemTime::now());
        let mut draft = maildir.draft()?;
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
        match self.maildir(&recipient.forward_path) {
            Some(Ok(maildir)) => {
                self.recipients.push((recipient.forward_path, maildir));
                Decision::Accept
            }
            Some(Err(error)) => error.into(),
            None => NO_USER.into(),
        }
    }

    fn data(&mut self, session: &Session) -> Decision {
        let recipients = self.recipients.iter();
        self.drafts = recipients.map(|(recipient, maildir)| self.begin(session, recipient, maildir)).collect();
        Decision::Accept
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        for draft in &mut self.drafts {
            if let Ok(open) = draft
                && let Err(error) = open.write(&content)
            {
                *draft = Err(error);
            }
        }
        Decision::Accept
    }

    fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        let kept = self.drafts.drain(..).map(|draft| draft.and_then(Draft::keep));
        Decision::Each(kept.map(|kept| kept.map_or_else(Decision::from, |_| Decision::Accept)).collect())
    }

    fn reset(&mut self, _: &Session, _: ResetReason) {
        // Drafts that are dropped are gone.
        self.drafts.clear();
    }
}

fn config() -> Result<Config, Box<dyn Error>> {
    let mut config = Config::new(HOSTNAME)?;
    config.lmtp = true;
    Ok(config)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut path = |name| arguments.next().map_or_else(|| std::env::temp_dir().join(name), PathBuf::from);
    let (socket, folder) = (path("smtp-lmtp.socket"), Arc::from(path("smtp-lmtp")));
    let server = Server::new().bind_unix(&socket, config()?)?;
    println!("listening on {}, delivering to the folders in {}", socket.display(), Path::display(&folder));
    server.serve(|_connection| Delivery::new(&folder));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::{fs, thread};

    use super::*;

    #[test]
    fn each_recipient_gets_a_reply_and_their_own_copy() -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let users = folder.path().join("users");
        for user in ["jane", "joe", "ann", "../outside"] {
            fs::create_dir_all(users.join(user))?;
        }
        let socket = folder.path().join("socket");
        let server = Server::new().bind_unix(&socket, config()?)?;
        let (handle, folder_of_users) = (server.handle(), Arc::from(users.as_path()));
        let server = thread::spawn(move || server.serve(|_| Delivery::new(&folder_of_users)));

        let mut stream = BufReader::new(UnixStream::connect(&socket)?);
        stream.get_mut().write_all(
            b"LHLO client.example\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<Jane@example.net>\r\n\
              RCPT TO:<\"../outside\"@example.net>\r\nRCPT TO:<joe@example.net>\r\n\
              RCPT TO:<ann@example.net>\r\nDATA\r\n",
        )?;
        let mut replies = String::new();
        while !replies.ends_with("354 Start mail input; end with <CRLF>.<CRLF>\r\n") {
            assert!(stream.read_line(&mut replies)? > 0, "{replies}");
        }
        assert_eq!(replies.matches("\r\n550 5.1.1 No such user\r\n").count(), 1, "{replies}");
        fs::remove_dir(users.join("joe/new"))?;
        stream.get_mut().write_all(b"Subject: Hi\r\n\r\nHello!\r\n.\r\nQUIT\r\n")?;
        replies.clear();
        stream.read_to_string(&mut replies)?;
        drop(stream);
        let codes: Vec<_> = replies.lines().map(|reply| &reply[..3]).collect();
        assert_eq!(codes, ["250", "451", "250", "221"], "{replies}");
        handle.shut_down();
        server.join().map_err(|_| "the server panicked")?;

        for (user, recipient) in [("jane", "Jane@example.net"), ("ann", "ann@example.net")] {
            let new = fs::read_dir(users.join(user).join("new"))?;
            let files: Vec<_> = new.collect::<io::Result<_>>()?;
            let [file] = files.as_slice() else { return Err(format!("{files:?}").into()) };
            let stored = fs::read_to_string(file.path())?;
            let from = "Received: from client.example\r\n\tby mail.example.net with LMTP\r\n";
            assert!(
                stored.starts_with(&format!("Return-Path: <a@a.test>\r\n{from}\tfor <{recipient}>;\r\n")),
                "{stored}"
            );
            assert!(stored.ends_with("\r\nSubject: Hi\r\n\r\nHello!\r\n"), "{stored}");
        }
        Ok(())
    }
}
