//! How many connections a server has at a time, in all and of each client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::reception::TurnedAway;

/// How many connections a server has at a time. Who comes beyond that is told 421 and turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// In all. Default 500: each takes a descriptor, and perhaps another for a file, and processes usually have 1024.
    /// (Postfix: `default_process_limit` 100; Exim: `smtp_accept_max` 20.)
    pub total: usize,
    /// From one IPv4 address, or one IPv6 network of 64 bits, which is what a single client has. Default 50 (Postfix
    /// `smtpd_client_connection_count_limit`).
    ///
    /// Not for Unix sockets, and not where [PROXY headers](crate::server::Config::proxy_protocol) are read: there, all
    /// connections are the proxy's, which is to limit its clients.
    pub per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { total: 500, per_address: 50 }
    }
}

/// Counts those who are inside.
#[derive(Debug)]
pub(super) struct Gate {
    limits: ConnectionLimits,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    total: usize,
    networks: HashMap<IpAddr, usize>,
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    network: Option<IpAddr>,
}

impl Gate {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, inside: Mutex::default() })
    }

    /// Lets one more in. Without an address it counts in the total only.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Ticket, TurnedAway> {
        let network = address.map(network);
        let mut inside = self.inside();
        if inside.total >= self.limits.total {
            return Err(TurnedAway::Total);
        }
        if let Some(network) = network {
            let count = inside.networks.get(&network).copied().unwrap_or_default();
            if count >= self.limits.per_address {
                return Err(TurnedAway::PerAddress);
            }
            inside.networks.insert(network, count.saturating_add(1));
        }
        inside.total = inside.total.saturating_add(1);
        Ok(Ticket { gate: Arc::clone(self), network })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inside = self.gate.inside();
        inside.total = inside.total.saturating_sub(1);
        let Some(network) = self.network else { return };
        match inside.networks.get_mut(&network) {
            Some(count @ 2..) => *count = count.saturating_sub(1),
            _ => drop(inside.networks.remove(&network)),
        }
    }
}

/// What addresses of one client have in common.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(total: usize, per_address: usize) -> Arc<Gate> {
        Gate::new(ConnectionLimits { total, per_address })
    }

    fn admit(gate: &Arc<Gate>, address: &str) -> Result<Ticket, TurnedAway> {
        gate.admit(Some(address.parse().unwrap()))
    }

    #[test]
    fn as_many_as_there_may_be_and_no_more() {
        let gate = gate(3, 2);
        let first = admit(&gate, "192.0.2.1").unwrap();
        let second = admit(&gate, "192.0.2.1").unwrap();
        assert_eq!(admit(&gate, "192.0.2.1").unwrap_err(), TurnedAway::PerAddress);
        let third = admit(&gate, "192.0.2.2").unwrap();
        assert_eq!(admit(&gate, "192.0.2.2").unwrap_err(), TurnedAway::Total);
        assert_eq!(gate.admit(None).unwrap_err(), TurnedAway::Total);
        drop(first);
        let fourth = admit(&gate, "192.0.2.1").unwrap();
        assert_eq!(admit(&gate, "192.0.2.3").unwrap_err(), TurnedAway::Total);
        drop((second, third, fourth));
        let inside = gate.inside();
        assert_eq!((inside.total, inside.networks.len()), (0, 0), "nothing is kept of those who left");
    }

    #[test]
    fn what_counts_as_one_client() {
        let one = [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
            ("::1", "::2"),
        ];
        for (first, second) in one {
            let gate = gate(9, 1);
            let _first = admit(&gate, first).unwrap();
            assert_eq!(admit(&gate, second).unwrap_err(), TurnedAway::PerAddress, "{first} {second}");
        }
        let two = [("192.0.2.1", "192.0.2.2"), ("2001:db8:1:2::1", "2001:db8:1:3::1")];
        for (first, second) in two {
            let gate = gate(9, 1);
            let _first = admit(&gate, first).unwrap();
            assert!(admit(&gate, second).is_ok(), "{first} {second}");
        }
        let gate = gate(9, 0);
        assert!(gate.admit(None).is_ok(), "no address, no limit for it");
    }

    #[test]
    fn a_panic_gives_the_place_back() {
        let gate = gate(1, 1);
        let inside = Arc::clone(&gate);
        let panicked = std::thread::spawn(move || {
            let _ticket = admit(&inside, "192.0.2.1");
            std::panic::resume_unwind(Box::new("the session panics"));
        });
        assert!(panicked.join().is_err());
        assert!(admit(&gate, "192.0.2.1").is_ok());
    }
}
