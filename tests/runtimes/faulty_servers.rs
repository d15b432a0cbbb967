//! Mailers and a server that fails at every step of a session in every way: what is reported is what the server took.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use smtp_proto::adapter::Error;
use smtp_proto::client::{Envelope, RecipientOutcome, Timeouts};
use smtp_proto::delivery::{Policies, Report, Url};
use smtp_tests::mailer::Mailer;
use smtp_tests::runtime::Runtime;
use socket2::SockRef;

use super::support::{Raw, client_config, envelope, joined};

/// Messages that are sent one by one, by so many threads.
const SINGLE: usize = 12;
const THREADS: usize = 3;
/// Messages that are sent all at once.
const TOGETHER: usize = 12;
const RECIPIENTS: [&str; 2] = ["joe", "jim"];
/// Where in the order of all replies of its kind the faults are.
const FAULTS: [usize; 3] = [0, 2, 5];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    EndOfFile,
    Reset,
    /// There is no answer.
    Silence,
    /// 421.
    Closing,
    /// 4yz.
    Transient,
    /// 5yz.
    Permanent,
    /// A reply that this command cannot have, or one that nothing asked for.
    Wrong,
}

const QUICK: [Fault; 6] =
    [Fault::EndOfFile, Fault::Reset, Fault::Closing, Fault::Transient, Fault::Permanent, Fault::Wrong];

/// What the fault comes instead of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Greeting,
    Hello,
    Mail,
    Rcpt,
    Data,
    /// The verdict.
    End,
    /// Nothing: it comes behind a message.
    Between,
}

const STEPS: [Step; 7] = [Step::Greeting, Step::Hello, Step::Mail, Step::Rcpt, Step::Data, Step::End, Step::Between];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One command at a time.
    Plain,
    Pipelining,
    Chunking,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    way: Way,
    fault: Fault,
    step: Step,
}

impl Plan {
    /// Whether there is such a fault at such a step.
    fn is_possible(self) -> bool {
        match self.step {
            Step::Data => self.way != Way::Chunking,
            Step::Between => !matches!(self.fault, Fault::Silence | Fault::Transient | Fault::Permanent),
            _ => true,
        }
    }

    /// Whether another attempt helps, and nobody can doubt that it is due.
    fn is_overcome(self) -> bool {
        match self.fault {
            Fault::Transient => true,
            Fault::Closing => true,
            Fault::EndOfFile | Fault::Reset => self.way == Way::Plain && self.step != Step::End,
            Fault::Silence | Fault::Permanent | Fault::Wrong => false,
        }
    }
}

/// A recipient of a message.
type Delivery = (String, String);

/// What all sessions of a server share.
struct Shared {
    plan: Plan,
    /// Replies of the kind in the plan so far.
    replies: AtomicUsize,
    taken: Mutex<Vec<Delivery>>,
    /// What clients said where there is nothing more to be said.
    too_much: Mutex<Vec<String>>,
    over: AtomicBool,
}

struct Server {
    address: String,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            plan,
            replies: AtomicUsize::new(0),
            taken: Mutex::default(),
            too_much: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut sessions = Vec::new();
            loop {
                let stream = listener.accept().unwrap().0;
                if serving.over.load(SeqCst) {
                    break;
                }
                let shared = Arc::clone(&serving);
                sessions.push(thread::spawn(move || {
                    let _ = Session { raw: Raw::over(stream), shared }.run();
                }));
            }
            sessions.into_iter().for_each(joined);
        });
        Self { address, shared, thread }
    }

    /// Waits for the sessions to end; what was taken.
    fn stop(self) -> Vec<Delivery> {
        self.shared.over.store(true, SeqCst);
        drop(TcpStream::connect(&self.address).unwrap());
        joined(self.thread);
        let too_much = std::mem::take(&mut *self.shared.too_much.lock().unwrap());
        assert!(too_much.is_empty(), "{:?}: said over a broken connection: {too_much:?}", self.shared.plan);
        std::mem::take(&mut self.shared.taken.lock().unwrap())
    }
}

/// The session is over.
struct Over;

struct Session {
    raw: Raw,
    shared: Arc<Shared>,
}

impl Session {
    fn run(mut self) -> Result<(), Over> {
        let mut sender = String::new();
        let mut recipients: Vec<String> = Vec::new();
        self.answer(Step::Greeting, "220 raw.example.net ESMTP")?;
        loop {
            let line = self.raw.line().ok_or(Over)?;
            match line.get(..4).unwrap_or_default() {
                "EHLO" => {
                    let hello = match self.shared.plan.way {
                        Way::Plain => "250 raw.example.net",
                        Way::Pipelining => "250-raw.example.net\r\n250 PIPELINING",
                        Way::Chunking => "250-raw.example.net\r\n250-PIPELINING\r\n250 CHUNKING",
                    };
                    self.answer(Step::Hello, hello)?;
                }
                "MAIL" => {
                    recipients.clear();
                    sender.clear();
                    if self.answer(Step::Mail, "250 2.1.0 OK")? {
                        sender = path(&line);
                    }
                }
                "RCPT" if sender.is_empty() => self.say("503 5.5.1 MAIL first"),
                "RCPT" => {
                    if self.answer(Step::Rcpt, "250 2.1.5 OK")? {
                        recipients.push(path(&line));
                    }
                }
                "DATA" if recipients.is_empty() => self.say("503 5.5.1 RCPT first"),
                "DATA" => {
                    if self.answer(Step::Data, "354 Go ahead")? {
                        while self.raw.line().ok_or(Over)? != "." {}
                        self.end(&sender, &mut recipients)?;
                    }
                }
                "BDAT" => {
                    let size = line.split(' ').nth(1).unwrap().parse().unwrap();
                    self.raw.take(size);
                    match () {
                        () if recipients.is_empty() => self.say("503 5.5.1 RCPT first"),
                        () if line.ends_with("LAST") => self.end(&sender, &mut recipients)?,
                        () => self.say("250 2.0.0 OK"),
                    }
                }
                "RSET" => {
                    recipients.clear();
                    sender.clear();
                    self.say("250 2.0.0 OK");
                }
                "QUIT" => {
                    self.say("221 2.0.0 Bye");
                    return Err(Over);
                }
                _ => panic!("not a command: {line:?}"),
            }
        }
    }

    /// The message is there.
    fn end(&mut self, sender: &str, recipients: &mut Vec<String>) -> Result<(), Over> {
        let deliveries = recipients.drain(..).map(|recipient| (sender.to_owned(), recipient)).collect::<Vec<_>>();
        let take = |shared: &Shared| shared.taken.lock().unwrap().extend(deliveries);
        let shared = Arc::clone(&self.shared);
        let refuses = matches!(shared.plan.fault, Fault::Closing | Fault::Transient | Fault::Permanent);
        match self.strikes(Step::End) {
            // Who is gone may have taken it.
            Some(number) if !refuses && number % 2 == 0 => take(&shared),
            Some(_) => {}
            None => {
                take(&shared);
                self.say("250 2.0.0 Taken");
                if self.strikes(Step::Between).is_some() {
                    self.fail(Step::Between)?;
                }
                return Ok(());
            }
        }
        self.fail(Step::End).map(drop)
    }

    /// Gives a reply, or what comes in its place. Whether it was that, as far as the server is concerned.
    fn answer(&mut self, step: Step, reply: &str) -> Result<bool, Over> {
        if self.strikes(step).is_some() {
            return self.fail(step);
        }
        self.say(reply);
        Ok(true)
    }

    /// Whether there is a fault now: which of them.
    fn strikes(&self, step: Step) -> Option<usize> {
        if step != self.shared.plan.step {
            return None;
        }
        let number = self.shared.replies.fetch_add(1, SeqCst);
        FAULTS.iter().position(|fault| *fault == number)
    }

    fn fail(&mut self, step: Step) -> Result<bool, Over> {
        let wrong = match step {
            Step::Data | Step::Between => "250 2.0.0 What?",
            _ => "354 What?",
        };
        match self.shared.plan.fault {
            Fault::EndOfFile => {
                let _ = self.raw.stream().shutdown(Shutdown::Write);
            }
            Fault::Reset => {
                SockRef::from(self.raw.stream()).set_linger(Some(Duration::ZERO)).unwrap();
                return Err(Over);
            }
            Fault::Silence => {}
            Fault::Closing => {
                self.say("421 4.3.2 Closing");
                let _ = self.raw.stream().shutdown(Shutdown::Write);
            }
            Fault::Transient => {
                self.say("451 4.3.0 Not now");
                return Ok(false);
            }
            Fault::Permanent => {
                self.say("554 5.3.0 Never");
                return Ok(false);
            }
            Fault::Wrong => {
                self.say(wrong);
                // The server does not know that it has said something wrong.
                if self.shared.plan.way != Way::Plain || step == Step::Between {
                    return Ok(true);
                }
            }
        }
        // What had been said before nobody minds; nor the command that finds out.
        if self.shared.plan.way == Way::Plain && step != Step::Between {
            let said = self.raw.line().filter(|said| said != "QUIT");
            self.shared.too_much.lock().unwrap().extend(said);
        }
        self.raw.drain();
        Err(Over)
    }

    fn say(&self, reply: &str) {
        // The client may be gone.
        let _ = self.raw.stream().write_all(format!("{reply}\r\n").as_bytes());
    }
}

/// What stands between the angle brackets.
fn path(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap().to_owned()
}

fn message(number: usize) -> (Envelope, Bytes) {
    (envelope(&format!("number{number}"), &RECIPIENTS), format!("Subject: {number}\r\n\r\n.{number}\r\n").into())
}

/// Sends everything: what became of it.
fn reports(mailer: &Mailer) -> Vec<(usize, Result<Report, Error>)> {
    let mut threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let mailer = mailer.clone();
            let send = move |number| {
                let (envelope, content) = message(number);
                (number, mailer.send(envelope, content))
            };
            thread::spawn(move || (thread..SINGLE).step_by(THREADS).map(send).collect::<Vec<_>>())
        })
        .collect();
    let mailer = mailer.clone();
    threads.push(thread::spawn(move || {
        let reports = mailer.send_all((SINGLE..SINGLE + TOGETHER).map(message));
        reports.map(|(index, report)| (SINGLE + index, report)).collect()
    }));
    threads.into_iter().flat_map(joined).collect()
}

fn check(runtime: Runtime, plan: Plan) {
    let server = Server::start(plan);
    let mut config = client_config();
    if plan.fault == Fault::Silence {
        config.timeouts = Timeouts::all(Duration::from_millis(200));
    }
    let mut policies = Policies::default();
    (policies.pool.connections, policies.pool.messages) = (2, 5);
    (policies.retry.attempts, policies.retry.first_delay) = (6, Duration::from_millis(1));
    policies.retry.factor = 1;
    let url: Url = format!("smtp://{}", server.address).parse().unwrap();
    let mailer = Mailer::new(runtime, config, url.endpoint().clone(), policies).unwrap();
    let reports = reports(&mailer);
    let health = mailer.health();
    mailer.close();
    let mut taken: BTreeMap<Delivery, usize> = BTreeMap::new();
    for delivery in server.stop() {
        *taken.entry(delivery).or_default() += 1;
    }
    assert_eq!(reports.len(), SINGLE + TOGETHER, "{plan:?}");
    assert_eq!(health.sent + health.failed, reports.len() as u64, "{plan:?}");
    let mut lost = 0;
    for (number, report) in reports {
        let refused = || vec![None; RECIPIENTS.len()];
        let outcomes =
            report.as_ref().map_or_else(|_| refused(), |report| report.outcome.recipients.iter().map(Some).collect());
        lost += usize::from(!report.as_ref().is_ok_and(|report| report.outcome.is_delivered()));
        for (recipient, outcome) in RECIPIENTS.iter().zip(outcomes) {
            let delivery = (format!("number{number}@example.org"), format!("{recipient}@example.net"));
            let times = taken.get(&delivery).copied().unwrap_or_default();
            let is_true = match outcome {
                Some(RecipientOutcome::Accepted(_)) => times == 1,
                Some(RecipientOutcome::Unknown(_)) => times <= 1,
                Some(RecipientOutcome::Refused { .. } | RecipientOutcome::Failed(_)) | None => times == 0,
                Some(_) => false,
            };
            assert!(is_true, "{plan:?}: {recipient} has number {number} {times} times: {report:?}");
        }
    }
    match plan {
        _ if plan.is_overcome() => assert_eq!(lost, 0, "{plan:?}"),
        // Each fault concerns one message, but for one that is noticed before the next.
        Plan { way: Way::Plain, fault, step } if fault != Fault::Silence => {
            let least = usize::from(step != Step::Between);
            assert!((least..=FAULTS.len()).contains(&lost), "{plan:?}: {lost} are lost");
        }
        _ => {}
    }
}

fn check_all(runtime: Runtime, way: Way, faults: &[Fault]) {
    for fault in faults {
        for step in STEPS {
            let plan = Plan { way, fault: *fault, step };
            if plan.is_possible() {
                check(runtime, plan);
            }
        }
    }
}

fn reports_are_true_command_by_command(runtime: Runtime) {
    check_all(runtime, Way::Plain, &QUICK);
}

fn reports_are_true_with_groups_of_commands(runtime: Runtime) {
    check_all(runtime, Way::Pipelining, &QUICK);
}

fn reports_are_true_with_many_messages_on_their_way(runtime: Runtime) {
    check_all(runtime, Way::Chunking, &QUICK);
}

fn reports_are_true_when_the_server_is_silent(runtime: Runtime) {
    for way in [Way::Plain, Way::Pipelining, Way::Chunking] {
        check_all(runtime, way, &[Fault::Silence]);
    }
}

on_each_runtime!(
    reports_are_true_command_by_command,
    reports_are_true_with_groups_of_commands,
    reports_are_true_with_many_messages_on_their_way,
    reports_are_true_when_the_server_is_silent,
);
