//! Messages handed over to another task, with tokio: `cargo run --example channel [-- ADDR:PORT]`.
//!
//! The task gets messages from a channel and says what becomes of each; only then the client gets its reply. While the
//! channel is full, clients wait: that is the back-pressure. When the task is gone, or drops a message without a word,
//! the client is told to come again (451).

use std::error::Error;

use smtp_proto::server::{Config, Decision, Handler, Mail, NOT_STORED, Recipient, ResetReason, Session};
use smtp_proto::wire::{ForwardPath, ReversePath};
use smtp_tokio::Server;
use tokio::sync::{mpsc, oneshot};

/// Messages that may wait for the task.
const WAITING: usize = 16;

/// A message on its way to the task.
struct Message {
    reverse_path: ReversePath,
    recipients: Vec<ForwardPath>,
    content: Vec<u8>,
    /// Takes what becomes of it.
    answer: oneshot::Sender<Decision>,
}

/// The application's side of one session.
struct HandOver {
    messages: mpsc::Sender<Message>,
    reverse_path: ReversePath,
    recipients: Vec<ForwardPath>,
    content: Vec<u8>,
}

impl HandOver {
    fn new(messages: mpsc::Sender<Message>) -> Self {
        Self { messages, reverse_path: ReversePath::Null, recipients: Vec::new(), content: Vec::new() }
    }
}

impl Handler for HandOver {
    async fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        self.reverse_path = mail.reverse_path;
        Decision::Accept
    }

    async fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        self.recipients.push(recipient.forward_path);
        Decision::Accept
    }

    async fn body(&mut self, _: &Session, content: bytes::Bytes) -> Decision {
        // No more than `Limits::message_size` comes.
        self.content.extend_from_slice(&content);
        Decision::Accept
    }

    async fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        let (answer, answered) = oneshot::channel();
        let message = Message {
            reverse_path: self.reverse_path.clone(),
            recipients: std::mem::take(&mut self.recipients),
            content: std::mem::take(&mut self.content),
            answer,
        };
        // A task that is gone takes nothing and answers nothing.
        let _ = self.messages.send(message).await;
        answered.await.unwrap_or(NOT_STORED.into())
    }

    async fn reset(&mut self, _: &Session, _: ResetReason) {
        self.recipients.clear();
        self.content.clear();
    }
}

/// What would be a data base, a queue, another service.
async fn take(mut messages: mpsc::Receiver<Message>) {
    while let Some(Message { reverse_path, recipients, content, answer }) = messages.recv().await {
        let recipients: Vec<_> = recipients.iter().map(ToString::to_string).collect();
        println!("{} octets from <{reverse_path}> for {}", content.len(), recipients.join(", "));
        // The client may have given up.
        let _ = answer.send(Decision::Accept);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:2525".to_owned());
    let (sender, messages) = mpsc::channel(WAITING);
    tokio::spawn(take(messages));
    let server = Server::new().bind(listen, Config::new("mail.example.net")?).await?;
    println!("listening on {}", server.local_addresses()[0]);
    server.serve(|_connection| HandOver::new(sender.clone())).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use smtp_proto::client::{Envelope, Outcome};
    use tokio::task::JoinHandle;

    use super::*;

    type Sent = Result<Outcome, smtp_tokio::Error>;

    /// A server that hands over to a channel with room for one.
    async fn serve() -> Result<(String, mpsc::Receiver<Message>), Box<dyn Error>> {
        let (sender, messages) = mpsc::channel(1);
        let server = Server::new().bind("127.0.0.1:0", Config::new("mail.example.net")?).await?;
        let address = server.local_addresses()[0].to_string();
        tokio::spawn(server.serve(move |_| HandOver::new(sender.clone())));
        Ok((address, messages))
    }

    fn send(server: &str) -> Result<JoinHandle<Sent>, Box<dyn Error>> {
        let envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;
        let server = server.to_owned();
        Ok(tokio::spawn(async move {
            let config = smtp_tests::in_clear("client.example.org");
            let mut client = smtp_tokio::Client::connect(&server, config).await?;
            client.send(envelope, "Subject: Hi\r\n\r\nHello!\r\n").await
        }))
    }

    #[tokio::test]
    async fn the_reply_is_what_the_task_says_and_waits_for_it() -> Result<(), Box<dyn Error>> {
        let (server, mut messages) = serve().await?;
        let sent = send(&server)?;
        let message = messages.recv().await.ok_or("no message")?;
        assert_eq!(message.content, b"Subject: Hi\r\n\r\nHello!\r\n");
        assert!(!sent.is_finished());
        message.answer.send(Decision::Accept).map_err(|_| "nobody waits")?;
        assert!(sent.await??.is_delivered());

        let sent = send(&server)?;
        let message = messages.recv().await.ok_or("no message")?;
        let refusal: smtp_proto::wire::Reply = "552 5.3.4 Too long".parse()?;
        message.answer.send(refusal.clone().into()).map_err(|_| "nobody waits")?;
        assert_eq!(sent.await??.recipients[0].reply(), Some(&refusal));
        Ok(())
    }

    #[tokio::test]
    async fn what_nobody_answers_for_is_to_come_again() -> Result<(), Box<dyn Error>> {
        let (server, mut messages) = serve().await?;
        let sent = send(&server)?;
        drop(messages.recv().await.ok_or("no message")?);
        assert_eq!(sent.await??.recipients[0].reply(), Some(&NOT_STORED));
        // Now the task is gone altogether.
        drop(messages);
        assert_eq!(send(&server)?.await??.recipients[0].reply(), Some(&NOT_STORED));
        Ok(())
    }
}
