//! The replies the server gives by itself.

use alloc::format;

use crate::wire::{AddressError, CommandError, ContentFault, Reply};

pub(super) const OK: Reply = Reply::from_static("250 2.0.0 OK");
pub(super) const SENDER_OK: Reply = Reply::from_static("250 2.1.0 Sender OK");
pub(super) const RECIPIENT_OK: Reply = Reply::from_static("250 2.1.5 Recipient OK");
pub(super) const MESSAGE_ACCEPTED: Reply = Reply::from_static("250 2.0.0 Message accepted");
pub(super) const CHUNK_OK: Reply = Reply::from_static("250 2.0.0 Chunk received");
pub(super) const START_CONTENT: Reply = Reply::from_static("354 Start mail input; end with <CRLF>.<CRLF>");
pub(super) const READY_FOR_TLS: Reply = Reply::from_static("220 2.0.0 Ready to start TLS");
pub(super) const AUTHENTICATED: Reply = Reply::from_static("235 2.7.0 Authentication successful");
pub(super) const BYE: Reply = Reply::from_static("221 2.0.0 Bye");
pub(super) const HELP: Reply = Reply::from_static("214 2.0.0 This is an SMTP server; see RFC 5321");
pub(super) const CANNOT_VERIFY: Reply =
    Reply::from_static("252 2.1.5 Cannot verify, but will accept messages and attempt delivery");

pub(super) const SHUTTING_DOWN: Reply = Reply::from_static("421 4.3.2 Service shutting down");
pub(super) const TIMED_OUT: Reply = Reply::from_static("421 4.4.2 Timed out");
pub(super) const NO_DECISION: Reply = Reply::from_static("421 4.3.0 Could not decide in time; try again later");
pub(super) use super::handler::UNDECIDED;
pub(super) const TOO_MANY_ERRORS: Reply = Reply::from_static("421 4.7.0 Too many errors");
pub(super) const ENDLESS: Reply = Reply::from_static("421 4.7.0 Too much to throw away");
pub(super) const TLS_NOT_AVAILABLE: Reply = Reply::from_static("454 4.7.0 TLS not available");
pub(super) const TOO_MANY_TRANSACTIONS: Reply = Reply::from_static("421 4.7.0 Too many messages in one session");
pub(super) const TOO_MANY_DOMAINS: Reply = Reply::from_static("452 4.5.3 Too many domains in one session");
pub(super) const FAILED: Reply = Reply::from_static("421 4.3.0 Local error; try again later");
pub(super) const QUEUING: Reply = Reply::from_static("250 2.0.0 Queuing started");
pub(super) const NOT_TRUSTED: Reply = Reply::from_static("550 5.7.0 Not authorised to speak for others");
pub(super) const IN_TRANSACTION: Reply = Reply::from_static("503 5.5.1 A transaction is open");
pub(super) const TOO_SOON: Reply = Reply::from_static("555 5.5.4 Cannot promise to deliver by then");
pub(super) const TOO_LONG_HELD: Reply = Reply::from_static("501 5.5.4 Cannot hold the message for so long");
pub(super) const TOO_MANY_RECIPIENTS: Reply = Reply::from_static("452 4.5.3 Too many recipients");

pub(super) const TOO_MANY_AUTH_FAILURES: Reply = Reply::from_static("421 4.7.0 Too many failed authentications");

pub(super) const UNKNOWN_COMMAND: Reply = Reply::from_static("500 5.5.2 Command not recognised");
pub(super) const LINE_TOO_LONG: Reply = Reply::from_static("500 5.5.2 Line too long");
pub(super) const NOT_IMPLEMENTED: Reply = Reply::from_static("502 5.5.1 Command not implemented");
pub(super) const HELLO_FIRST: Reply = Reply::from_static("503 5.5.1 Say hello first");
pub(super) const NESTED_MAIL: Reply = Reply::from_static("503 5.5.1 A transaction is open; MAIL not allowed");
pub(super) const CHUNKS_OPEN: Reply = Reply::from_static("503 5.5.1 A message is coming in chunks; only BDAT or RSET");
pub(super) const BINARY_NEEDS_BDAT: Reply = Reply::from_static("503 5.5.1 Binary content needs BDAT");
pub(super) const LHLO_ONLY: Reply = Reply::from_static("500 5.5.1 This is LMTP; say LHLO");
pub(super) const RCPT_FIRST: Reply = Reply::from_static("503 5.5.1 No recipient was accepted");
pub(super) const MAIL_FIRST: Reply = Reply::from_static("503 5.5.1 MAIL first");
pub(super) const TLS_IS_ON: Reply = Reply::from_static("503 5.5.1 TLS is on already");
pub(super) const AUTHENTICATED_ALREADY: Reply = Reply::from_static("503 5.5.1 Authenticated already");
pub(super) const AUTH_IN_TRANSACTION: Reply = Reply::from_static("503 5.5.1 A transaction is open; AUTH not allowed");
pub(super) const NO_SERVICE: Reply = Reply::from_static("503 5.5.1 No service here; only QUIT");
pub(super) const AUTH_LINE_TOO_LONG: Reply = Reply::from_static("500 5.5.6 Authentication exchange line too long");
pub(super) const AUTH_MALFORMED: Reply = Reply::from_static("501 5.5.2 Cannot decode the response");
pub(super) const AUTH_ENDLESS: Reply = Reply::from_static("501 5.5.2 Too many challenges");
pub(super) const AUTH_CANCELLED: Reply = Reply::from_static("501 5.7.0 Authentication cancelled");
pub(super) const UNKNOWN_MECHANISM: Reply = Reply::from_static("504 5.5.4 Mechanism not offered");
pub(super) const NO_HTTP: Reply = Reply::from_static("521 5.5.1 This is no HTTP server");
pub(super) const TLS_REQUIRED: Reply = Reply::from_static("530 5.7.0 STARTTLS first");
pub(super) const AUTH_REQUIRED: Reply = Reply::from_static("530 5.7.0 Authentication required");
pub(super) const BAD_CREDENTIALS: Reply = Reply::from_static("535 5.7.8 Authentication credentials invalid");
pub(super) const NEEDS_ENCRYPTION: Reply = Reply::from_static("538 5.7.11 This mechanism needs encryption");
pub(super) const BEHIND_STARTTLS: Reply = Reply::from_static("554 5.5.1 Nothing may follow STARTTLS before TLS");
/// The octets behind the command would be taken for commands: the session has to end (BDAT-010, BDAT-011).
pub(super) const NO_CHUNKS: Reply = Reply::from_static("521 5.5.1 No such chunk");
pub(super) const TOO_LARGE: Reply = Reply::from_static("552 5.3.4 Message too large");
pub(super) const NEEDS_SMTPUTF8: Reply = Reply::from_static("553 5.6.7 Address is not ASCII; needs SMTPUTF8");
pub(super) const NO_RECIPIENTS: Reply = Reply::from_static("554 5.5.1 No valid recipients");
pub(super) const UNKNOWN_PARAMETER: Reply = Reply::from_static("555 5.5.4 Parameter not recognised");

pub(super) fn content_fault(fault: ContentFault) -> Reply {
    match fault {
        ContentFault::BareNewline => Reply::from_static("554 5.6.0 Message has a CR or LF that is not part of a CRLF"),
        ContentFault::Nul => Reply::from_static("554 5.6.0 Message has a NUL character"),
        ContentFault::LineTooLong => Reply::from_static("500 5.6.0 Message has a line that is too long"),
    }
}

pub(super) fn command_error(error: CommandError) -> Reply {
    match error {
        CommandError::NotACommand => UNKNOWN_COMMAND,
        CommandError::Characters => Reply::from_static("501 5.5.2 Invalid characters"),
        CommandError::Argument { expected } => {
            format!("501 5.5.4 Syntax error: expected {expected}").parse().unwrap_or(UNKNOWN_COMMAND)
        }
        CommandError::ReversePath(error) if is_length(error) => Reply::from_static("501 5.1.7 Path too long"),
        CommandError::ReversePath(_) => Reply::from_static("501 5.1.7 Bad sender address syntax"),
        CommandError::ForwardPath(error) if is_length(error) => Reply::from_static("501 5.1.3 Path too long"),
        CommandError::ForwardPath(_) => Reply::from_static("501 5.1.3 Bad recipient address syntax"),
        CommandError::ChunkSize => NO_CHUNKS,
        CommandError::Attribute(_) => Reply::from_static("501 5.5.4 Bad attribute"),
        CommandError::Parameter(_) => Reply::from_static("501 5.5.4 Bad parameter"),
    }
}

fn is_length(error: AddressError) -> bool {
    matches!(error, AddressError::LocalPartTooLong | AddressError::DomainTooLong | AddressError::PathTooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Severity;
    use alloc::string::ToString;

    /// Subjects and details of RFC 3463 and the IANA registry (RFC 5248) that are used here.
    const REGISTERED: [&str; 21] = [
        "0.0", "1.0", "1.3", "1.5", "1.7", "3.0", "3.2", "3.4", "3.5", "4.2", "5.1", "5.2", "5.3", "5.4", "5.6", "6.0",
        "6.6", "6.7", "7.0", "7.8", "7.11",
    ];

    #[test]
    fn every_reply_has_a_registered_enhanced_code_of_its_class() {
        // ESC-002, ESC-005, STATE-026
        let errors = [
            CommandError::NotACommand,
            CommandError::Characters,
            CommandError::Argument { expected: "something" },
            CommandError::ReversePath(AddressError::Path),
            CommandError::ReversePath(AddressError::PathTooLong),
            CommandError::ForwardPath(AddressError::Path),
            CommandError::ForwardPath(AddressError::PathTooLong),
            CommandError::Parameter(crate::wire::ParameterError::Syntax),
            CommandError::ChunkSize,
            CommandError::Attribute(crate::wire::AttributeError::Syntax),
        ];
        let faults = [ContentFault::BareNewline, ContentFault::Nul, ContentFault::LineTooLong];
        let own = [
            OK,
            SENDER_OK,
            RECIPIENT_OK,
            MESSAGE_ACCEPTED,
            READY_FOR_TLS,
            TLS_NOT_AVAILABLE,
            AUTHENTICATED,
            TOO_MANY_AUTH_FAILURES,
            TLS_IS_ON,
            AUTHENTICATED_ALREADY,
            AUTH_IN_TRANSACTION,
            AUTH_LINE_TOO_LONG,
            AUTH_MALFORMED,
            AUTH_CANCELLED,
            AUTH_ENDLESS,
            UNKNOWN_MECHANISM,
            TLS_REQUIRED,
            AUTH_REQUIRED,
            BAD_CREDENTIALS,
            NEEDS_ENCRYPTION,
            BEHIND_STARTTLS,
            BYE,
            HELP,
            CANNOT_VERIFY,
            SHUTTING_DOWN,
            TIMED_OUT,
            NO_DECISION,
            UNDECIDED,
            TOO_MANY_ERRORS,
            ENDLESS,
            TOO_MANY_RECIPIENTS,
            UNKNOWN_COMMAND,
            LINE_TOO_LONG,
            NOT_IMPLEMENTED,
            HELLO_FIRST,
            NESTED_MAIL,
            LHLO_ONLY,
            RCPT_FIRST,
            MAIL_FIRST,
            CHUNK_OK,
            CHUNKS_OPEN,
            BINARY_NEEDS_BDAT,
            TOO_MANY_TRANSACTIONS,
            TOO_MANY_DOMAINS,
            FAILED,
            QUEUING,
            NOT_TRUSTED,
            IN_TRANSACTION,
            TOO_SOON,
            TOO_LONG_HELD,
            super::super::handler::NOT_STORED,
            super::super::handler::NOTHING_QUEUED,
            super::super::handler::NOT_FETCHED,
            NO_CHUNKS,
            NO_SERVICE,
            NO_HTTP,
            TOO_LARGE,
            NEEDS_SMTPUTF8,
            NO_RECIPIENTS,
            UNKNOWN_PARAMETER,
        ];
        let all = own.into_iter().chain(errors.map(command_error)).chain(faults.map(content_fault));
        for reply in all {
            let enhanced = reply.enhanced().unwrap_or_else(|| panic!("{reply} has no enhanced code")).to_string();
            let (class, rest) = enhanced.split_once('.').unwrap();
            assert!(reply.code().to_string().starts_with(class), "{reply}");
            assert!(REGISTERED.contains(&rest), "{reply}");
            assert_ne!(reply.severity(), Severity::Intermediate);
        }
        assert_eq!(START_CONTENT.enhanced(), None);
    }
}
