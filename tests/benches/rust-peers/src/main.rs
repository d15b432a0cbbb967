//! Sends messages with clients of other crates, over one connection: `CLIENT PORT MESSAGES RECIPIENTS OCTETS`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, SmtpTransport, Tokio1Executor, Transport};
use mail_send::SmtpClientBuilder;
use mail_send::smtp::message::Message;

const HOST: &str = "127.0.0.1";
const NAME: &str = "client.example.org";
const SENDER: &str = "jane@example.org";

struct Job {
    port: u16,
    messages: usize,
    recipients: Vec<String>,
    content: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [client, port, messages, recipients, octets] = arguments.as_slice() else {
        return Err("CLIENT PORT MESSAGES RECIPIENTS OCTETS".into());
    };
    let job = Job {
        port: port.parse()?,
        messages: messages.parse()?,
        recipients: (0..recipients.parse()?).map(|number| format!("recipient{number}@example.net")).collect(),
        content: content(octets.parse()?),
    };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match client.as_str() {
        "lettre" => lettre(&job),
        "lettre-tokio" => tokio.block_on(lettre_tokio(&job)),
        "mail-send" => tokio.block_on(mail_send(&job)),
        _ => Err("no such client".into()),
    }
}

/// Text of so many octets, with lines of 72.
fn content(octets: usize) -> Vec<u8> {
    let line = [b"x".repeat(70).as_slice(), b"\r\n"].concat();
    let mut content = b"Subject: Hello\r\n\r\n".to_vec();
    while content.len() + line.len() <= octets {
        content.extend_from_slice(&line);
    }
    content
}

fn envelope(job: &Job) -> Result<Envelope, Box<dyn Error>> {
    let recipients = job.recipients.iter().map(|recipient| recipient.parse());
    Ok(Envelope::new(Some(SENDER.parse::<Address>()?), recipients.collect::<Result<_, _>>()?)?)
}

fn lettre(job: &Job) -> Result<(), Box<dyn Error>> {
    let transport = SmtpTransport::builder_dangerous(HOST)
        .port(job.port)
        .hello_name(ClientId::Domain(NAME.to_owned()))
        .timeout(Some(Duration::from_secs(60)))
        .pool_config(PoolConfig::new().max_size(1))
        .build();
    let envelope = envelope(job)?;
    for _ in 0..job.messages {
        transport.send_raw(&envelope, &job.content)?;
    }
    Ok(())
}

async fn lettre_tokio(job: &Job) -> Result<(), Box<dyn Error>> {
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(HOST)
        .port(job.port)
        .hello_name(ClientId::Domain(NAME.to_owned()))
        .timeout(Some(Duration::from_secs(60)))
        .pool_config(PoolConfig::new().max_size(1))
        .build();
    let envelope = envelope(job)?;
    for _ in 0..job.messages {
        transport.send_raw(&envelope, &job.content).await?;
        // A task takes the connection back to the pool: let it, before the next message.
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn mail_send(job: &Job) -> Result<(), Box<dyn Error>> {
    let builder = SmtpClientBuilder::new(HOST, job.port)?.implicit_tls(false).helo_host(NAME);
    let mut client = builder.connect_plain().await?;
    for _ in 0..job.messages {
        let recipients = job.recipients.iter().map(String::as_str);
        client.send(Message::new(SENDER, recipients, job.content.as_slice())).await?;
    }
    Ok(client.quit().await?)
}
