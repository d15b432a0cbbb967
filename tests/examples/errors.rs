//! What an error tells: whether to try again, what the server said, what the session was doing: `cargo run --example errors`.

use std::net::TcpListener;

use smtp_proto::adapter::Error;
use smtp_tests::post_office::PostOffice;

/// What a program can do about an error without knowing its kind.
fn explain(error: &Error) {
    println!("{error}");
    match error.reply() {
        Some(reply) if reply.enhanced().is_some() => println!("  the server said {} {:?}", reply.code(), reply.text()),
        Some(reply) => println!("  the server said {}", reply.code()),
        None => println!("  that did not come from the server"),
    }
    let next = if error.is_transient() { "the same may succeed later" } else { "something has to be changed first" };
    println!("  {next}{}", if error.is_timeout() { ": it took too long" } else { "" });
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    let failure = |url: &str, to: &str| {
        let sent = smtp_blocking::send(url, "jane@example.org", [to], "Subject: Hi\n\nHello!\n");
        sent.err().ok_or("it was sent")
    };

    // Refused for good.
    let error = failure(&office.url(), "nobody@example.net")?;
    explain(&error);
    assert!(error.is_permanent() && error.reply().is_some());

    // Refused for now. `send` itself would try again, were it not told otherwise.
    let error = failure(&format!("{}&retries=0", office.url()), "busy@example.net")?;
    explain(&error);
    let Error::Undelivered(report) = &error else { return Err(error.into()) };
    assert!(error.is_transient() && report.attempts == 1);

    // Nobody is there: a port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let error = failure(&format!("smtp://127.0.0.1:{port}?tls=none&retries=0"), "joe@example.net")?;
    explain(&error);
    assert!(error.is_transient() && error.reply().is_none());

    // A mistake of the program: nothing is connected.
    let error = failure("mailto:joe@example.net", "joe@example.net")?;
    explain(&error);
    assert!(matches!(error, Error::Url(_)));
    let error = failure(&office.url(), "joe@example.net\r\nRSET")?;
    explain(&error);
    assert!(matches!(error, Error::Argument(_)));
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
