//! Which hosts take the mail of a domain, and in which order (RFC 5321 section 5.1, RFC 7505).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::wire::Reply;

/// Why no host can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoMailExchanger {
    /// The domain says that it accepts no mail (RFC 7505): [`NoMailExchanger::RECIPIENT`] is the reply about a recipient
    /// there, [`NoMailExchanger::SENDER`] the one about a sender.
    #[error("the domain does not accept mail (null MX)")]
    NullMx,
    /// No host comes before the one that asks, so that the mail would come back to it: its configuration does not say that
    /// it takes mail for the domain.
    #[error("the mail exchanger of the domain is this host itself")]
    Loop,
    /// None of the hosts has an address, or the domain does not exist.
    #[error("the domain has no host with an address")]
    NoAddress,
}

impl NoMailExchanger {
    /// A recipient whose domain has a null MX (RFC 7505 section 4.1).
    pub const RECIPIENT: Reply = Reply::from_static("556 5.1.10 Recipient address has null MX");
    /// A sender whose domain has a null MX, so that nothing could be returned (RFC 7505 section 4.2).
    pub const SENDER: Reply = Reply::from_static("550 5.7.27 Sender address has null MX");

    /// What a server would say about a recipient (RFC 3463 section 3.5 for the codes).
    pub fn reply(self) -> Reply {
        match self {
            Self::NullMx => Self::RECIPIENT,
            Self::Loop => Reply::from_static("554 5.4.6 Mail for this domain would come back to this host"),
            Self::NoAddress => Reply::from_static("550 5.4.4 No host of this domain has an address"),
        }
    }
}

/// The hosts to try for a domain, best first.
///
/// `records` are preferences and hosts of its MX records; those of the same preference are shuffled with 64 random bits
/// at a time. Without any, it is the domain itself. Where one of `own`, the names of the asking host, is among the hosts,
/// only those of a lower preference number are left. Only ask this with a lookup that succeeded: after one that failed,
/// nobody knows whether there are records.
///
/// # Errors
/// When no host is left.
///
/// ```
/// use smtp_proto::delivery::{NoMailExchanger, mail_exchangers};
/// let records = [(20, "b.example."), (10, "a.example."), (30, "c.example.")];
/// assert_eq!(mail_exchangers("d.example", records, &["C.example"], || 0)?, ["a.example", "b.example"]);
/// assert_eq!(mail_exchangers("d.example", [], &[], || 0)?, ["d.example"]);
/// assert_eq!(mail_exchangers("d.example", [(0, ".")], &[], || 0), Err(NoMailExchanger::NullMx));
/// # Ok::<(), NoMailExchanger>(())
/// ```
pub fn mail_exchangers<'a>(
    domain: &'a str,
    records: impl IntoIterator<Item = (u16, &'a str)>,
    own: &[&str],
    mut random: impl FnMut() -> u64,
) -> Result<Vec<String>, NoMailExchanger> {
    let mut records: Vec<(u16, &str)> =
        records.into_iter().map(|(preference, host)| (preference, without_root(host))).collect();
    if records.is_empty() {
        records.push((0, without_root(domain)));
    }
    // One beside others means nothing: it names no host (RFC 7505 section 3).
    records.retain(|(_, host)| !host.is_empty());
    if records.is_empty() {
        return Err(NoMailExchanger::NullMx);
    }
    shuffle(&mut records, &mut random);
    records.sort_by_key(|(preference, _)| *preference);
    let is_own = |host: &str| own.iter().any(|own| without_root(own).eq_ignore_ascii_case(host));
    let limit = records.iter().find(|(_, host)| is_own(host)).map(|(preference, _)| *preference);
    let mut hosts: Vec<String> = Vec::with_capacity(records.len());
    for (_, host) in records.into_iter().filter(|(preference, _)| limit.is_none_or(|limit| *preference < limit)) {
        if !hosts.iter().any(|earlier| earlier.eq_ignore_ascii_case(host)) {
            hosts.push(host.to_string());
        }
    }
    if hosts.is_empty() { Err(NoMailExchanger::Loop) } else { Ok(hosts) }
}

/// Names of DNS may end in the root's dot.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Every order is as likely as any other (Fisher and Yates).
fn shuffle<T>(items: &mut [T], random: &mut impl FnMut() -> u64) {
    for last in (1..items.len()).rev() {
        let count = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        let chosen = random().checked_rem(count).and_then(|chosen| usize::try_from(chosen).ok());
        items.swap(chosen.unwrap_or(last), last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    fn ordered(records: &[(u16, &'static str)], own: &[&str]) -> Result<Vec<String>, NoMailExchanger> {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        mail_exchangers("d.example", records.iter().copied(), own, || {
            bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            bits.rotate_left(32)
        })
    }

    #[test]
    fn hosts_come_by_preference_and_each_once() {
        let hosts = ordered(&[(30, "c.d"), (10, "A.d."), (20, "b.d"), (40, "a.D"), (65535, "z.d"), (0, "f.d")], &[]);
        assert_eq!(hosts.unwrap(), ["f.d", "A.d", "b.d", "c.d", "z.d"]);
        assert_eq!(ordered(&[], &["other.example"]).unwrap(), ["d.example"], "the implicit MX");
    }

    #[test]
    fn a_null_mx_is_no_host() {
        // EXT-013
        assert_eq!(ordered(&[(0, ".")], &[]), Err(NoMailExchanger::NullMx));
        assert_eq!(ordered(&[(0, "")], &["d.example"]), Err(NoMailExchanger::NullMx));
        assert_eq!(ordered(&[(0, "."), (10, "a.d")], &[]).unwrap(), ["a.d"]);
        let shown = [NoMailExchanger::RECIPIENT, NoMailExchanger::SENDER].map(|reply| reply.to_string());
        assert!(shown[0].starts_with("556 5.1.10 ") && shown[1].starts_with("550 5.7.27 "), "{shown:?}");
    }

    #[test]
    fn hosts_from_the_own_one_on_are_left_out() {
        let records = [(10, "a.d"), (20, "b.d"), (20, "own.d"), (20, "c.d"), (30, "e.d")];
        assert_eq!(ordered(&records, &["x.d", "OWN.d."]).unwrap(), ["a.d"]);
        assert_eq!(ordered(&[(20, "own.d"), (10, "own.d"), (15, "a.d")], &["own.d"]), Err(NoMailExchanger::Loop));
        assert_eq!(ordered(&[], &["D.example"]), Err(NoMailExchanger::Loop), "the implicit MX");
    }

    #[test]
    fn hosts_of_one_preference_come_in_every_order() {
        let mut bits = 0u64;
        let mut orders: BTreeMap<Vec<String>, u32> = BTreeMap::new();
        for _ in 0..6000 {
            let records = [(10, "a.d"), (10, "b.d"), (5, "first.d"), (10, "c.d")];
            let hosts = mail_exchangers("d.example", records, &[], || {
                // Steps over all remainders alike.
                bits = bits.wrapping_add(1);
                bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7
            });
            let hosts = hosts.unwrap();
            assert_eq!(hosts[0], "first.d");
            *orders.entry(hosts).or_default() += 1;
        }
        assert_eq!(orders.len(), 6);
        assert!(orders.values().all(|count| (800..1200).contains(count)), "{orders:?}");
    }
}
