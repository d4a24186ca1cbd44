//! Whether a process listens: it is registered only when a caller would reach it.

use std::time::Duration;

use roster_core::Address;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often it is tried.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long one try may take.
const ATTEMPT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Listens,
    /// Not within the time.
    Silent,
}

/// Waits until the address accepts a TCP connection.
pub(crate) async fn listens(address: &Address, patience: Duration) -> Readiness {
    let attempts = async {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if accepts(address).await {
                return Readiness::Listens;
            }
        }
    };
    timeout(patience, attempts).await.unwrap_or(Readiness::Silent)
}

/// Whether the address accepts a TCP connection.
pub(crate) async fn accepts(address: &Address) -> bool {
    let attempt = timeout(ATTEMPT, TcpStream::connect((address.host(), address.port())));
    matches!(attempt.await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_listener_is_found_and_its_absence_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse("127.0.0.1", listener.local_addr().unwrap().port().into()).unwrap();
        assert_eq!(listens(&address, Duration::from_secs(5)).await, Readiness::Listens);
        drop(listener);
        assert_eq!(listens(&address, Duration::from_millis(1)).await, Readiness::Silent);
    }
}
