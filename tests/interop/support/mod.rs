//! What the tests of both directions share.

pub(crate) mod dovecot;
pub(crate) mod exim;
pub(crate) mod gate;
pub(crate) mod haproxy;
pub(crate) mod haraka;
pub(crate) mod messages;
pub(crate) mod nginx;
pub(crate) mod nodemailer;
pub(crate) mod opensmtpd;
pub(crate) mod peers;
pub(crate) mod postfix;
pub(crate) mod process;
pub(crate) mod root;
pub(crate) mod secure;
pub(crate) mod smtp_sink;
pub(crate) mod smtplib;
pub(crate) mod tools;
