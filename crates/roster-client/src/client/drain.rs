//! An operator's drain as it goes on.

use std::time::Duration;

use roster_proto::v1;
use tokio::time::Instant;
use tonic::Streaming;

use crate::error::Error;
use crate::registrar::DrainProgress;

/// The progress of [`Client::drain`](crate::Client::drain).
#[derive(Debug)]
pub struct DrainStream {
    stream: Streaming<v1::DrainProgress>,
    endpoint: String,
    patience: Duration,
    until: Instant,
    finished: bool,
}

impl DrainStream {
    pub(super) fn new(stream: Streaming<v1::DrainProgress>, endpoint: String, patience: Duration) -> Self {
        Self { stream, endpoint, patience, until: Instant::now() + patience, finished: false }
    }

    /// The next progress, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::Failed`] when the connection broke, [`Error::TimedOut`] when the node did not end it.
    pub async fn next(&mut self) -> Result<Option<DrainProgress>, Error> {
        const CALL: &str = "drain";
        if self.finished {
            return Ok(None);
        }
        let progress = match tokio::time::timeout_at(self.until, self.stream.message()).await {
            Ok(Ok(progress)) => progress.as_ref().map(DrainProgress::of),
            Ok(Err(status)) => {
                let endpoint = self.endpoint.clone();
                return Err(match v1::Refusal::of_status(&status) {
                    Some(refusal) => Error::Refused { call: CALL, endpoint, refusal: Box::new(refusal) },
                    None => Error::Failed { call: CALL, endpoint, source: Box::new(status) },
                });
            }
            Err(_) => {
                return Err(Error::TimedOut { call: CALL, endpoint: self.endpoint.clone(), deadline: self.patience });
            }
        };
        self.finished = progress.is_none_or(|progress| progress.finished);
        Ok(progress)
    }
}
