//! A message in one line, for scripts: `cargo run --example one_line`.

use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    let url = office.url(); // yours: smtps://user:password@mail.example.net

    smtp_blocking::send(&url, "jane@example.org", ["joe@example.net"], "Subject: Hi\n\nHello!\n")?;

    println!("{}", String::from_utf8_lossy(&office.letters()[0].content));
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
