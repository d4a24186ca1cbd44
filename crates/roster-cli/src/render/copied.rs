//! How far a copy of a log is, and what was restored from one.

use std::time::Duration;

use serde::Serialize;

use super::age::stamp;
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// How far the copy of one log is.
#[derive(Debug, Serialize)]
pub(crate) struct CopyLine {
    log: &'static str,
    position: u64,
    received_bytes: u64,
    /// Since the copy had everything; `null` until then.
    lag_ms: Option<u64>,
}

impl CopyLine {
    pub(crate) fn new(log: &'static str, position: u64, received_bytes: u64, lag: Option<Duration>) -> Self {
        let lag_ms = lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
        Self { log, position, received_bytes, lag_ms }
    }

    pub(crate) fn sentence(&self) -> String {
        let Self { log, position, received_bytes, .. } = self;
        let had_all = match self.lag_ms {
            None => "not all that the node has yet".to_owned(),
            Some(lag) => format!("had everything {}.{} s ago", lag / 1000, lag % 1000 / 100),
        };
        format!("{log}: durable up to position {position}, {received_bytes} bytes received, {had_all}")
    }
}

impl Shown for CopyLine {
    fn table(&self, _paint: Paint) -> String {
        format!("{}\n", self.sentence())
    }

    fn text(&self) -> String {
        let lag = self.lag_ms.map(|lag| lag.to_string()).unwrap_or_default();
        format!("{}\t{}\t{}\t{lag}\n", self.log, self.position, self.received_bytes)
    }
}

/// One log that was restored.
#[derive(Debug, Serialize)]
pub(crate) struct RestoredLine {
    log: &'static str,
    position: u64,
    bytes: u64,
    /// When the backup last had everything, by the clock of its node; `null` when it never had.
    complete_at: Option<String>,
}

impl RestoredLine {
    pub(crate) fn new(log: &'static str, position: u64, bytes: u64, at_unix_ms: u64) -> Self {
        Self { log, position, bytes, complete_at: (at_unix_ms > 0).then(|| stamp(at_unix_ms)) }
    }
}

impl Shown for RestoredLine {
    fn table(&self, paint: Paint) -> String {
        let Self { log, position, bytes, .. } = self;
        let as_of = match &self.complete_at {
            Some(at) => format!("all that the node had at {at}"),
            None => paint.text(Tone::Careful, "the backup never had all that its node had"),
        };
        format!("{log}: restored up to position {position}, {bytes} bytes; {as_of}\n")
    }

    fn text(&self) -> String {
        let Self { log, position, bytes, .. } = self;
        format!("{log}\t{position}\t{bytes}\t{}\n", self.complete_at.as_deref().unwrap_or_default())
    }
}
