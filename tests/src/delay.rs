//! A link with a delay: what goes in on one side comes out on the other a fixed time later, however much it is.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// Octets read at a time.
const PIECE: usize = 64 * 1024;

/// Listens on a port of loopback for as long as the process lives, and connects whoever comes to the server, over a link
/// on which octets take `one_way`. Connections themselves are made without delay.
///
/// # Errors
/// When there is no port or thread to be had.
pub fn before(server: SocketAddr, one_way: Duration) -> io::Result<SocketAddr> {
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name("delay".to_owned()).spawn(move || {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Where there is no runtime, the other end of the channel notices.
        let Ok(tokio) = tokio else { return };
        tokio.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await;
            let address = listener.as_ref().map_err(|error| error.kind().into()).and_then(TcpListener::local_addr);
            // Whoever asked waits for this.
            let _ = tell.send(address);
            let Ok(listener) = listener else { return };
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(join(client, server, one_way));
            }
        });
    })?;
    told.recv().map_err(io::Error::other)?
}

async fn join(client: TcpStream, server: SocketAddr, one_way: Duration) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    // Where this fails, the figures show it.
    let _ = client.set_nodelay(true).and(server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::spawn(carry(from_client, to_server, one_way));
    carry(from_server, to_client, one_way).await;
}

/// Carries octets, and the end of them, until one side is gone.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, one_way: Duration) {
    // Without a bound: what has set out does not wait for what is before it.
    let (set_out, mut on_the_way) = tokio::sync::mpsc::unbounded_channel::<(Instant, Bytes)>();
    let departures = async move {
        let mut piece = BytesMut::new();
        loop {
            piece.reserve(PIECE);
            // A connection that breaks ends as well.
            let received = from.read_buf(&mut piece).await.unwrap_or(0);
            if set_out.send((Instant::now() + one_way, piece.split().freeze())).is_err() || received == 0 {
                return;
            }
        }
    };
    let arrivals = async move {
        while let Some((arrival, piece)) = on_the_way.recv().await {
            sleep_until(arrival).await;
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                break;
            }
        }
        // Nobody is left to be told that this fails.
        let _ = to.shutdown().await;
    };
    tokio::join!(departures, arrivals);
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(50);

    fn link() -> (tokio::io::DuplexStream, tokio::io::DuplexStream) {
        let (ours, from) = tokio::io::duplex(1024 * 1024);
        let (to, theirs) = tokio::io::duplex(1024 * 1024);
        tokio::spawn(carry(from, to, DELAY));
        (ours, theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn octets_arrive_after_the_delay_and_do_not_wait_for_those_before_them() {
        let (mut ours, mut theirs) = link();
        let begin = Instant::now();
        for number in 0..10 {
            sleep_until(begin + Duration::from_millis(number)).await;
            ours.write_u64(number).await.unwrap();
        }
        for number in 0..10 {
            assert_eq!(theirs.read_u64().await.unwrap(), number);
            assert_eq!(begin.elapsed(), DELAY + Duration::from_millis(number));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn much_takes_no_longer_than_little() {
        let (mut ours, mut theirs) = link();
        let begin = Instant::now();
        ours.write_all(&[b'x'; 1_000_000]).await.unwrap();
        theirs.read_exact(&mut [0; 1_000_000]).await.unwrap();
        assert_eq!(begin.elapsed(), DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_arrives_behind_the_last_octet_and_not_sooner() {
        let (mut ours, mut theirs) = link();
        let begin = Instant::now();
        ours.write_all(b"last").await.unwrap();
        ours.shutdown().await.unwrap();
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.unwrap();
        assert_eq!((all.as_slice(), begin.elapsed()), (b"last".as_slice(), DELAY));
    }

    #[tokio::test]
    async fn one_direction_ends_without_the_other() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let through = before(server.local_addr().unwrap(), Duration::from_millis(1)).unwrap();
        let mut client = TcpStream::connect(through).await.unwrap();
        let (mut peer, _) = server.accept().await.unwrap();
        client.write_all(b"ask").await.unwrap();
        client.shutdown().await.unwrap();
        let mut asked = Vec::new();
        peer.read_to_end(&mut asked).await.unwrap();
        peer.write_all(b"answer").await.unwrap();
        drop(peer);
        let mut answered = Vec::new();
        client.read_to_end(&mut answered).await.unwrap();
        assert_eq!((asked.as_slice(), answered.as_slice()), (b"ask".as_slice(), b"answer".as_slice()));
    }
}
