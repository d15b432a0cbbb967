//! Extensions by their EHLO keywords, as a command line switches them on and off.

use std::time::{SystemTime, UNIX_EPOCH};

use smtp_proto::server::Config;
use smtp_proto::wire::{DateTime, FutureReleaseInterval, FutureReleaseMaxima};

/// How long messages can be held back: 30 days.
const LONGEST_HOLD: u32 = 30 * 24 * 60 * 60;

type Switch = fn(&mut Config, bool);

/// All that can be switched.
const EXTENSIONS: [(&str, Switch); 17] = [
    ("8BITMIME", |config, on| config.eight_bit_mime = on),
    ("BINARYMIME", |config, on| config.binary_mime = on),
    ("BURL", |config, on| config.burl = on.then(|| "imap".to_owned())),
    ("CHUNKING", |config, on| config.chunking = on),
    ("DELIVERBY", |config, on| config.deliver_by = on.then_some(0)),
    ("DSN", |config, on| config.dsn = on),
    ("ENHANCEDSTATUSCODES", |config, on| config.enhanced_status_codes = on),
    ("ETRN", |config, on| config.etrn = on),
    ("EXPN", |config, on| config.expand = on),
    ("FUTURERELEASE", |config, on| config.future_release = if on { future_release() } else { None }),
    ("HELP", |config, on| config.help = on),
    ("LIMITS", |config, on| config.announce_limits = on),
    ("MT-PRIORITY", |config, on| config.priority = on),
    ("PIPELINING", |config, on| config.pipelining = on),
    ("REQUIRETLS", |config, on| config.requiretls = on),
    ("RRVS", |config, on| config.rrvs = on),
    ("SMTPUTF8", |config, on| config.smtputf8 = on),
];

/// The extensions that need others, or what a server may not have, with how to get it.
const NEEDS: [(&str, Needed, &str); 4] = [
    ("BINARYMIME", |config| config.chunking, "CHUNKING"),
    ("BURL", |config| config.require_auth, "--require-auth: it is for submission only"),
    ("FUTURERELEASE", |config| config.require_auth, "--require-auth: it is for submission only"),
    ("REQUIRETLS", |config| config.tls != smtp_proto::server::TlsPolicy::None, "--tls-cert and --tls-key"),
];

type Needed = fn(&Config) -> bool;

fn future_release() -> Option<FutureReleaseMaxima> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let latest = i64::try_from(now.as_secs()).ok()?.checked_add(LONGEST_HOLD.into())?;
    Some(FutureReleaseMaxima {
        interval: FutureReleaseInterval::new(LONGEST_HOLD).ok()?,
        date_time: DateTime::from_unix_seconds(latest)?,
    })
}

/// Switches what a list names: keywords separated by commas, with a hyphen before those that are to be off.
///
/// # Errors
/// When there is no such extension, or one is on that needs what is not there.
pub(crate) fn switch(config: &mut Config, list: &str) -> Result<(), String> {
    let mut on = Vec::new();
    for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let (keyword, wanted) = word.strip_prefix('-').map_or((word, true), |keyword| (keyword, false));
        let Some((keyword, switch)) = EXTENSIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(keyword)) else {
            let known: Vec<_> = EXTENSIONS.iter().map(|(known, _)| *known).collect();
            return Err(format!("--extensions: there is no {keyword}, but {}", known.join(", ")));
        };
        switch(config, wanted);
        on.retain(|other| other != keyword);
        on.extend(wanted.then_some(*keyword));
    }
    let lacking = NEEDS.iter().find(|(keyword, is_there, _)| on.contains(keyword) && !is_there(config));
    lacking.map_or(Ok(()), |(keyword, _, needed)| Err(format!("--extensions: {keyword} needs {needed}")))
}
