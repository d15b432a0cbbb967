//! Handlers that take their time, on a clock that stands still while anything moves: what takes 10 ms takes just that.

use std::time::Duration;

use smtp_proto::adapter::serving::Handle;
use smtp_proto::server::{self, Connection, Decision, Handler, Recipient, Recipients, Session};
use smtp_proto::wire::Reply;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::support::{limited, server_config};

const RECIPIENTS: u64 = 100;

/// How long a handler needs for a recipient.
const EACH: Duration = Duration::from_millis(10);

/// The timers of tokio tick once in a millisecond.
const TICK: Duration = Duration::from_millis(1);

/// Every third is refused; the text tells which it was.
fn decision(index: u64) -> Decision {
    let code = if index.is_multiple_of(3) { "550 5.1.1" } else { "250 2.1.5" };
    format!("{code} number {index}").parse::<Reply>().unwrap().into()
}

/// Decides about all at the same time, and comes to an end with them in another order.
struct AllAtOnce;

impl Handler for AllAtOnce {
    async fn recipients(&mut self, _: &Session, recipients: Recipients) -> Vec<Decision> {
        let mut looking = JoinSet::new();
        for recipient in recipients.iter() {
            let index = u64::from(recipient.index);
            // 37 and 100 have no common divisor: each moment has its recipient, in a jumble.
            let order = index * 37 % RECIPIENTS;
            looking.spawn(async move {
                sleep(EACH - TICK * u32::try_from(order / 10).unwrap()).await;
                (index, decision(index))
            });
        }
        let mut decisions = Vec::new();
        while let Some(Ok(decided)) = looking.join_next().await {
            decisions.push(decided);
        }
        assert!(!decisions.is_sorted_by_key(|(index, _)| *index), "they are decided out of order");
        decisions.sort_by_key(|(index, _)| *index);
        decisions.into_iter().map(|(_, decision)| decision).collect()
    }
}

/// Decides about one after the other.
struct OneByOne;

impl Handler for OneByOne {
    async fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        sleep(EACH).await;
        decision(u64::from(recipient.index))
    }
}

/// How long the replies to all recipients take.
async fn asks(stream: DuplexStream) -> Duration {
    let mut client = BufReader::new(stream);
    let mut reply = String::new();
    let mut lines = vec!["EHLO client.example.org\r\n".to_owned(), "MAIL FROM:<>\r\n".to_owned()];
    let recipients = (0..RECIPIENTS).map(|number| format!("RCPT TO:<number{number}@example.net>\r\n"));
    lines.push(recipients.collect());
    let mut began = Instant::now();
    for line in std::iter::once(String::new()).chain(lines) {
        began = Instant::now();
        client.write_all(line.as_bytes()).await.unwrap();
        let mut index = 0;
        loop {
            reply.clear();
            client.read_line(&mut reply).await.unwrap();
            if !line.starts_with("RCPT") {
                if reply.as_bytes().get(3) == Some(&b' ') {
                    break;
                }
                continue;
            }
            let Decision::Reply(expected) = decision(index) else { panic!("a reply") };
            assert_eq!(reply.trim_end(), expected.to_string(), "in the order of the commands");
            index += 1;
            if index == RECIPIENTS {
                break;
            }
        }
    }
    began.elapsed()
}

fn time_for<H: Handler>(handler: H) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (connection, handle) = (Connection::new(1, None), Handle::new());
        let served = smtp_tokio::serve_connection(theirs, connection, server_config(), handler, &handle);
        let (took, served) = tokio::join!(asks(ours), served);
        served.unwrap();
        took
    })
}

#[test]
fn recipients_that_are_decided_at_the_same_time_take_as_long_as_one() {
    limited(|| {
        let took = time_for(AllAtOnce);
        assert!((EACH..=EACH + TICK).contains(&took), "{took:?}");
    });
}

#[test]
fn recipients_that_are_decided_one_by_one_take_as_long_as_all() {
    limited(|| {
        let took = time_for(OneByOne);
        let count = u32::try_from(RECIPIENTS).unwrap();
        assert!((EACH * count..=(EACH + TICK) * count).contains(&took), "{took:?}");
    });
}

/// Takes longer than it may.
struct Slow;

impl server::Handler for Slow {
    async fn connected(&mut self, _: &Session) -> Decision {
        sleep(Duration::from_secs(3600)).await;
        Decision::Accept
    }
}

#[test]
fn deadlines_and_limits_go_by_the_clock_of_the_runtime() {
    limited(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for limit in [None, Some(Duration::from_secs(60))] {
                let (ours, theirs) = tokio::io::duplex(64 * 1024);
                let (connection, handle) = (Connection::new(1, None), Handle::new());
                let began = Instant::now();
                if let Some(limit) = limit {
                    handle.shut_down_within(limit);
                }
                let served = smtp_tokio::serve_connection(theirs, connection, server_config(), Slow, &handle);
                let reply = async {
                    let mut reply = String::new();
                    BufReader::new(ours).read_line(&mut reply).await.unwrap();
                    (reply, began.elapsed())
                };
                let ((reply, took), served) = tokio::join!(reply, served);
                served.unwrap();
                assert!(reply.starts_with("421 "), "{reply}");
                let expected = match limit {
                    // Of a decision.
                    None => Duration::from_secs(600),
                    // Nothing has begun: it ends at once.
                    Some(_) => Duration::ZERO,
                };
                assert!((expected..expected + Duration::from_secs(1)).contains(&took), "{limit:?}: {took:?}");
            }
        });
    });
}
