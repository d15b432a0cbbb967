//! A program without the standard library that uses the core. Were `std` linked by anything in it, the panic handler
//! below would be the second one, and the compiler would refuse.
#![no_std]

extern crate alloc;

use alloc::sync::Arc;

use smtp_proto::server::{Config, Server};
use smtp_proto::{InvalidArgument, Instant};

/// A server where there is no system.
pub fn server() -> Result<Server, InvalidArgument> {
    Ok(Server::new(Arc::new(Config::new("device.example")?), Instant::default()))
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
