//! What every client adapter needs around sessions: where to connect, when to try again, how many at once.
//!
//! Nothing here connects, waits or guesses: moments and random bits are arguments, and what is to be done is returned.

mod addresses;
mod attempts;
mod health;
mod mx;
mod policies;
mod pool;
mod rate;
mod retry;
mod url;

pub use addresses::{Racing, RacingStep};
pub use attempts::{Delivery, NextAttempt, Report};
pub use health::{Health, HealthRecorder, ResponseTimes};
pub use mx::{NoMailExchanger, mail_exchangers};
pub use policies::Policies;
pub use pool::{Pool, PoolAction, PoolPolicy, Ticket};
pub use rate::RateLimit;
pub use retry::Retry;
pub use url::{Endpoint, Host, InvalidUrl, Url};
