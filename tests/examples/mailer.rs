//! A mailer, which all tasks of a program share: it keeps connections, tries again what failed for now, and keeps to a
//! rate: `cargo run --example mailer`.

use std::time::Duration;

use smtp_proto::adapter::Error;
use smtp_proto::client::Envelope;
use smtp_proto::delivery::{Policies, RateLimit, Report, Url};
use smtp_tests::post_office::PostOffice;
use smtp_tokio::{Connector, MailObserver, Mailer};

/// Hooks for logs, metrics and queues.
struct Watching;

impl MailObserver for Watching {
    fn delayed(&self, envelope: &Envelope, delay: Duration) {
        println!("{}: again in {delay:?}", envelope.recipients[0]);
    }

    fn done(&self, envelope: &Envelope, result: Result<&Report, &Error>, _took: Duration) {
        match result {
            Ok(report) => println!("{}: {:?}", envelope.recipients[0], report.outcome.verdict()),
            Err(error) => println!("{}: {error}", envelope.recipients[0]),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;

    // `Mailer::from_url` does with a URL such as smtps://jane:s3cret@mail.example.net?connections=3&rate=100/m. The same
    // with shorter delays than a URL can say:
    let url: Url = office.url().parse()?;
    let mut policies = Policies::from(&url);
    policies.pool.connections = 3;
    policies.retry.first_delay = Duration::from_millis(10);
    policies.rate = Some(RateLimit::new(10_000, Duration::from_secs(60)));
    let mailer = Mailer::new(Connector::from_url(&url)?, url.endpoint().clone(), policies);
    mailer.observe(Watching);

    let mut sending = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mailer = mailer.clone();
        sending.spawn(async move {
            // Every fourth recipient is busy at first.
            let name = if number % 4 == 0 { "busy" } else { "joe" };
            let envelope = Envelope::new("jane@example.org", [format!("{name}@{number}.example.net")])?;
            mailer.send(envelope, format!("Subject: Number {number}\n\nHello!\n")).await
        });
    }
    for report in sending.join_all().await {
        assert!(report?.outcome.is_delivered());
    }

    // A list: the mailer takes the messages as it needs them.
    let envelopes = (0..100).map(|number| Envelope::new("list@example.org", [format!("joe@{number}.example.net")]));
    let envelopes: Vec<Envelope> = envelopes.collect::<Result<_, _>>()?;
    let news = envelopes.into_iter().map(|envelope| (envelope, "Subject: News\n\nHello!\n"));
    let mut reports = mailer.send_all(news);
    while let Some((place, report)) = reports.next().await {
        println!("number {place}: {:?}", report?.outcome.verdict());
    }

    let health = mailer.health();
    println!("{health:?}");
    assert!(health.sent == 120 && health.retried == 5);
    mailer.close().await;
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
