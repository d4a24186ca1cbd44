//! The way to a node from within its process: connections that are pairs of pipes, not sockets.

use std::io;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// What a connection holds on its way, in each direction.
const PIPE_BYTES: usize = 256 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: usize = 128;

/// Makes connections to the node that it came from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    inside: mpsc::Sender<DuplexStream>,
}

impl Dialer {
    pub(crate) fn new() -> (Self, mpsc::Receiver<DuplexStream>) {
        let (inside, accepted) = mpsc::channel(BACKLOG);
        (Self { inside }, accepted)
    }

    /// One connection, to be spoken to like a socket of the node.
    ///
    /// # Errors
    /// `ConnectionRefused` when the node has stopped.
    pub async fn dial(&self) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let refused = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the node of this process has stopped");
        self.inside.send(theirs).await.map_err(refused)?;
        Ok(ours)
    }
}
