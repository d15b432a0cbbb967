//! What the tests of both directions share.

pub(crate) mod messages;
pub(crate) mod peers;
pub(crate) mod postfix;
pub(crate) mod process;
pub(crate) mod secure;
pub(crate) mod tools;
