//! A mail server with async-std that shows what is in a message: `cargo run --example mime [-- ADDR:PORT]`.
//!
//! SMTP ends at the content; what is in it is the business of a MIME parser, here the crate `mail-parser`.

use std::error::Error;
use std::fmt::Write;

use mail_parser::{MessageParser, MimeHeaders};
use smtp_async_std::Server;
use smtp_proto::server::{Config, Decision, Handler, ResetReason, Session};
use smtp_proto::wire::{Escaped, Reply};

const NOT_A_MESSAGE: Reply = Reply::from_static("554 5.6.0 This is no message");

/// The application's side of one session. It keeps nothing: do not send it what is to be kept.
#[derive(Default)]
struct Reader {
    content: Vec<u8>,
}

impl Handler for Reader {
    async fn body(&mut self, _: &Session, content: bytes::Bytes) -> Decision {
        // No more than `Limits::message_size` comes.
        self.content.extend_from_slice(&content);
        Decision::Accept
    }

    async fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        match summary(&std::mem::take(&mut self.content)) {
            Some(summary) => {
                print!("{summary}");
                Decision::Accept
            }
            None => NOT_A_MESSAGE.into(),
        }
    }

    async fn reset(&mut self, _: &Session, _: ResetReason) {
        self.content.clear();
    }
}

/// Subject, parts and attachments of a message, a line for each; `None` when it is none.
fn summary(content: &[u8]) -> Option<String> {
    let message = MessageParser::default().parse(content)?;
    // Whoever wrote the message is not to write to the terminal as well.
    let shown = |text: &str| Escaped(text.as_bytes()).to_string();
    let mut summary = format!("subject: {}\n", shown(message.subject().unwrap_or("none")));
    for part in &message.parts {
        // RFC 2045 section 5.2: what a part is that does not say so.
        let content_type = part.content_type().map_or("text/plain".to_owned(), |content_type| {
            format!("{}/{}", content_type.ctype(), content_type.subtype().unwrap_or("unknown"))
        });
        let _ = writeln!(summary, "part: {}, {} octets", shown(&content_type), part.len());
    }
    for attachment in message.attachments() {
        let name = attachment.attachment_name().unwrap_or("without a name");
        let _ = writeln!(summary, "attachment: {}, {} octets", shown(name), attachment.len());
    }
    Some(summary)
}

fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:2525".to_owned());
    async_std::task::block_on(async {
        let server = Server::new().bind(listen, Config::new("mail.example.net")?).await?;
        println!("listening on {}", server.local_addresses()[0]);
        server.serve(|_connection| Reader::default()).await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use smtp_proto::client::Envelope;

    use super::*;

    const MESSAGE: &str = concat!(
        "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe=1B?=\r\n",
        "MIME-Version: 1.0\r\n",
        "Content-Type: multipart/mixed; boundary=\"-\"\r\n\r\n",
        "---\r\nContent-Type: text/plain\r\n\r\nHello!\r\n",
        "---\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=\"a.png\"\r\n",
        "Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n-----\r\n",
    );

    #[test]
    fn subject_parts_and_attachments_are_shown() {
        assert_eq!(
            summary(MESSAGE.as_bytes()).as_deref(),
            Some(
                "subject: Grüße\\u{1b}\n\
                 part: multipart/mixed, 0 octets\n\
                 part: text/plain, 6 octets\n\
                 part: image/png, 8 octets\n\
                 attachment: a.png, 8 octets\n"
            )
        );
    }

    #[test]
    fn a_message_is_read_and_what_is_none_is_refused() -> Result<(), Box<dyn Error>> {
        async_std::task::block_on(async {
            let server = Server::new().bind("127.0.0.1:0", Config::new("mail.example.net")?).await?;
            let address = server.local_addresses()[0].to_string();
            async_std::task::spawn(server.serve(|_| Reader::default()));
            let config = smtp_tests::in_clear("client.example.org");
            let mut client = smtp_async_std::Client::connect(&address, config).await?;
            let envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;
            assert!(client.send(envelope.clone(), MESSAGE).await?.is_delivered());
            assert_eq!(client.send(envelope, "").await?.recipients[0].reply(), Some(&NOT_A_MESSAGE));
            client.quit().await?;
            Ok(())
        })
    }
}
