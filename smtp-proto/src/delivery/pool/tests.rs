//! Who gets a connection, when one ends, and that no order of events breaks the limits.

use super::*;
use PoolAction::{Close, Hand, Open, Refuse};
use proptest::prelude::*;

fn at(seconds: u64) -> Instant {
    Instant::since_epoch(Duration::from_secs(seconds))
}

fn pool(connections: usize) -> Pool<&'static str> {
    Pool::new(PoolPolicy { connections, messages: 3, ..PoolPolicy::default() })
}

#[test]
fn who_asks_first_is_served_first_and_who_gives_up_is_passed_over() {
    let mut pool = pool(1);
    let [a, b, c, d] = [(); 4].map(|()| pool.request());
    assert_eq!(pool.next(at(0)), Some(Open(a)));
    assert_eq!(pool.next(at(0)), None);
    pool.release(b);
    pool.give_back(a, "x", 1, at(1));
    assert_eq!(pool.next(at(1)), Some(Hand(c, "x")));
    assert_eq!(pool.next(at(1)), None);
    pool.release(c);
    assert_eq!(pool.next(at(1)), Some(Open(d)), "a broken connection is replaced");
    pool.release(d);
    assert_eq!((pool.connections(), pool.waiting()), (0, 0));
}

#[test]
fn messages_are_counted_over_all_who_used_a_connection() {
    let mut pool = pool(1);
    let [a, b, c] = [(); 3].map(|()| pool.request());
    assert_eq!(pool.allowance(a), 0, "it has no connection");
    assert_eq!(pool.next(at(0)), Some(Open(a)));
    assert_eq!(pool.allowance(a), 3);
    pool.give_back(a, "x", 1, at(0));
    assert_eq!(pool.next(at(0)), Some(Hand(b, "x")));
    assert_eq!(pool.allowance(b), 2);
    pool.give_back(b, "x", 2, at(0));
    let Some(Close(closing, "x")) = pool.next(at(0)) else { panic!("not closed") };
    assert_eq!(pool.next(at(0)), None, "the server may still count it");
    pool.release(closing);
    assert_eq!(pool.next(at(0)), Some(Open(c)));
}

#[test]
fn what_is_idle_or_old_ends_at_the_deadline() {
    let mut pool = pool(2);
    let [a, b] = [(); 2].map(|()| pool.request());
    assert_eq!([pool.next(at(0)), pool.next(at(0))], [Some(Open(a)), Some(Open(b))]);
    assert_eq!(pool.deadline(), None);
    pool.give_back(a, "x", 1, at(10));
    pool.give_back(b, "y", 1, at(20));
    assert_eq!(pool.deadline(), Some(at(70)));
    assert_eq!(pool.next(at(69)), None);
    assert!(matches!(pool.next(at(70)), Some(Close(_, "x"))));
    assert_eq!((pool.next(at(70)), pool.deadline()), (None, Some(at(80))));
    let c = pool.request();
    assert_eq!(pool.next(at(79)), Some(Hand(c, "y")));
    assert_eq!([599, 600].map(|second| pool.is_old(c, at(second))), [false, true]);
    pool.give_back(c, "y", 0, at(599));
    assert_eq!(pool.deadline(), Some(at(600)));
    let d = pool.request();
    assert!(matches!(pool.next(at(600)), Some(Close(_, "y"))));
    assert_eq!(pool.next(at(600)), None, "both are just being closed");
    pool.release(d);
}

#[test]
fn a_closed_pool_refuses_and_waits_for_what_is_in_use() {
    let mut pool = pool(2);
    let [a, b] = [(); 2].map(|()| pool.request());
    assert_eq!([pool.next(at(0)), pool.next(at(0))], [Some(Open(a)), Some(Open(b))]);
    pool.give_back(a, "x", 1, at(0));
    pool.close();
    let c = pool.request();
    let Some(Close(closing, "x")) = pool.next(at(0)) else { panic!("not closed") };
    assert_eq!([pool.next(at(0)), pool.next(at(0))], [Some(Refuse(c)), None]);
    pool.release(closing);
    assert!(!pool.is_closed());
    pool.give_back(b, "y", 1, at(0));
    let Some(Close(closing, "y")) = pool.next(at(0)) else { panic!("not closed") };
    assert!(!pool.is_closed());
    pool.release(closing);
    assert!(pool.is_closed());
}

/// A connection, the model of which knows what it has behind it.
#[derive(Debug)]
struct Modelled {
    number: u64,
    opened: u64,
    messages: u32,
    since: u64,
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    next_number: u64,
    queue: VecDeque<Ticket>,
    /// What each ticket with a place has; `None` when it is closing.
    out: BTreeMap<Ticket, Option<Modelled>>,
    idle: BTreeMap<u64, (u64, u64)>,
    closed: bool,
}

const POLICY: PoolPolicy =
    PoolPolicy { connections: 3, messages: 4, age: Duration::from_secs(50), idle: Duration::from_secs(20) };

impl Model {
    /// Checks what the pool says and does it; false when it said nothing.
    fn obey(&mut self, action: Option<PoolAction<Modelled>>) -> bool {
        let ended = |(opened, since): &(u64, u64)| opened + 50 <= self.now || since + 20 <= self.now;
        match action {
            Some(Hand(ticket, connection)) => {
                assert_eq!(self.queue.pop_front(), Some(ticket));
                let known = self.idle.remove(&connection.number).expect("handed out twice");
                assert!(!ended(&known) && connection.messages < 4 && !self.closed);
                assert!(self.out.insert(ticket, Some(connection)).is_none());
            }
            Some(Open(ticket)) => {
                assert_eq!(self.queue.pop_front(), Some(ticket));
                assert!(self.idle.is_empty() && !self.closed);
                self.next_number += 1;
                let connection = Modelled { number: self.next_number, opened: self.now, messages: 0, since: 0 };
                assert!(self.out.insert(ticket, Some(connection)).is_none());
            }
            Some(Close(ticket, connection)) => {
                let idle = self.idle.remove(&connection.number);
                assert!(idle.is_none_or(|idle| ended(&idle) || self.closed), "closed without a reason");
                self.out.insert(ticket, None);
            }
            Some(Refuse(ticket)) => {
                assert_eq!(self.queue.pop_front(), Some(ticket));
                assert!(self.closed);
            }
            None => {
                assert!(!self.idle.values().any(ended), "kept for too long");
                let full = self.out.len() == 3 && self.idle.is_empty();
                assert!(self.queue.is_empty() || full && !self.closed, "somebody waits in vain");
                return false;
            }
        }
        assert!(self.out.len() + self.idle.len() <= 3, "too many connections");
        true
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_limits_hold_and_everybody_is_served(
        steps in proptest::collection::vec((0u8..20, any::<usize>()), 1..200),
    ) {
        let mut model = Model::default();
        let mut pool = Pool::new(POLICY);
        for (operation, choice) in steps {
            let out = (!model.out.is_empty()).then(|| *model.out.keys().nth(choice % model.out.len()).unwrap());
            match (operation, out) {
                (0..5, _) => model.queue.push_back(pool.request()),
                (5..10, Some(ticket)) => match model.out.remove(&ticket).unwrap() {
                    Some(mut connection) => {
                        prop_assert_eq!(pool.allowance(ticket), 4 - connection.messages);
                        let messages = choice as u32 % 3;
                        connection.messages += messages;
                        connection.since = model.now;
                        if connection.messages < 4 && !model.closed {
                            model.idle.insert(connection.number, (connection.opened, connection.since));
                        }
                        pool.give_back(ticket, connection, messages, at(model.now));
                    }
                    None => pool.release(ticket),
                },
                (10..12, Some(ticket)) => {
                    model.out.remove(&ticket);
                    pool.release(ticket);
                }
                (12..14, _) if !model.queue.is_empty() => {
                    let ticket = model.queue.remove(choice % model.queue.len()).unwrap();
                    pool.release(ticket);
                }
                (14..19, _) => model.now += choice as u64 % 30,
                (19, _) if choice % 8 == 0 => {
                    model.closed = true;
                    pool.close();
                }
                _ => {}
            }
            while model.obey(pool.next(at(model.now))) {}
            prop_assert_eq!(pool.waiting(), model.queue.len());
            prop_assert_eq!(pool.connections(), model.out.len() + model.idle.len());
            let ends = model.idle.values().map(|(opened, since)| at((opened + 50).min(since + 20)));
            prop_assert_eq!(pool.deadline(), ends.min());
        }
        // Everybody is served in the end, when those who have something let go of it.
        for _ in 0..400 {
            while model.obey(pool.next(at(model.now))) {}
            let Some((ticket, _)) = model.out.pop_first() else { break };
            pool.release(ticket);
        }
        prop_assert!(model.queue.is_empty() && pool.waiting() == 0);
        pool.close();
        model.closed = true;
        while model.obey(pool.next(at(model.now))) {}
        while let Some((ticket, _)) = model.out.pop_first() {
            pool.release(ticket);
        }
        prop_assert!(pool.is_closed());
    }
}

#[test]
fn what_was_spent_or_given_up_does_not_come_back() {
    let mut pool = pool(2);
    let a = pool.request();
    assert_eq!(pool.next(at(0)), Some(Open(a)));
    pool.give_back(a, "x", 3, at(0));
    pool.release(a);
    let Some(Close(closing, "x")) = pool.next(at(0)) else { panic!("not closed") };
    assert_eq!(pool.connections(), 1, "a second release frees nothing");
    pool.give_back(closing, "x", 0, at(0));
    let Some(Close(closing, "x")) = pool.next(at(0)) else { panic!("not closed") };
    pool.release(closing);
    let b = pool.request();
    assert_eq!(pool.next(at(0)), Some(Open(b)));
    pool.release(b);
    pool.give_back(b, "y", 0, at(0));
    assert!(matches!(pool.next(at(0)), Some(Close(_, "y"))));
    assert_eq!(pool.connections(), 0);
}
