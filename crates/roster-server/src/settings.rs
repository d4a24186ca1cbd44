//! The settings of a node, as plain data.
//!
//! Every knob has a default and is printed by `roster serve --print-settings`. Layers are joined as
//! TOML: defaults, then the file, then the environment (`log.rebuild-min` is `ROSTER_LOG_REBUILD_MIN`),
//! then flags; an unknown key is an error that names it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The SDK sends up to so many operations in one message.
const OPERATIONS_PER_MESSAGE_MIN: usize = 1_024;
/// One registration with all the facts it may have must fit.
const MESSAGE_BYTES_MIN: usize = 64 * 1024;
/// Clients take a stream for lost that says nothing for twice as long.
const BOOKMARK_INTERVAL_MAX: Duration = Duration::from_secs(15);

/// When a command counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// After an fdatasync that it shares with whatever gathered meanwhile.
    Synced,
    /// After a write to the operating system: survives a killed process, not a power cut.
    Os,
    /// At once: memory only.
    None,
}

impl Durability {
    /// The word in settings, status and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Os => "os",
            Self::None => "none",
        }
    }
}

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Allows listening beyond loopback without credentials.
    pub insecure: bool,
    /// Where the log and its manifest live.
    pub data_dir: PathBuf,
    /// A second directory, best on another disk; generations alternate between the two. Empty for none.
    pub switch_dir: PathBuf,
    /// When a command counts as durable.
    pub durability: Durability,
    pub log: LogSection,
    pub sessions: SessionSection,
    pub watches: WatchSection,
    pub limits: LimitSection,
}

/// The durable log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct LogSection {
    /// A rebuild waits for at least so much log since the last snapshot.
    pub rebuild_min: ByteSize,
    /// … and for so many times the size of that snapshot.
    pub rebuild_growth: f64,
    /// How long superseded files are kept.
    pub history: Span,
    /// … and how many bytes of them.
    pub history_max: ByteSize,
    /// A segment file ends at this size.
    pub segment_max: ByteSize,
}

/// Sessions and their timers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SessionSection {
    /// How long restored sessions may take to return, counted from when the node is ready.
    pub restart_grace: Span,
    /// A quiet session is pinged this often.
    pub ping_interval: Span,
    /// … and must answer within this.
    pub ping_timeout: Span,
    /// A probe asked for by `Check` must be answered within this.
    pub check_timeout: Span,
    /// The mass-loss guard holds removals when more than this share of all instances, or of one service,
    /// would be lost within ten seconds; 1.0 turns it off.
    pub guard_fraction: f64,
    /// … and at least so many.
    pub guard_least: u64,
}

/// Watches and what is kept for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct WatchSection {
    /// What one stream may leave unread, in groups of events; beyond it the stream is reset.
    pub outbox_groups: usize,
    /// … and in bytes.
    pub outbox_bytes: ByteSize,
    /// Recent events kept so that watches can resume.
    pub resume_bytes: ByteSize,
    /// A quiet stream carries a bookmark this often.
    pub bookmark_interval: Span,
}

/// Limits of the edge. Those of the machine itself are constants, the same on every node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct LimitSection {
    /// Connections at a time; more are closed at once.
    pub connections: usize,
    /// Calls under way at a time; more are refused. Checks are counted apart, and so are calls of operators.
    pub calls: usize,
    /// Streams of one connection at a time.
    pub streams_per_connection: u32,
    /// Sessions with a stream at a time.
    pub sessions: usize,
    /// Watch streams at a time.
    pub watch_streams: usize,
    /// Watches of one stream.
    pub watches_per_stream: usize,
    /// One request message.
    pub message_bytes: ByteSize,
    /// Operations in one request message.
    pub operations_per_message: usize,
    /// Request messages of one session under way at a time; reading waits beyond it.
    pub messages_in_flight: usize,
    /// Publishing streams at a time.
    pub producers: usize,
    /// Consuming streams at a time.
    pub consumers: usize,
    /// Batches of one publishing stream whose results it has not taken; reading waits beyond it.
    pub batches_in_flight: usize,
    /// What all sessions together may have on its way to the log.
    pub operation_bytes: ByteSize,
    /// What all publishers together may have on its way to the log.
    pub publish_bytes: ByteSize,
    /// What may have been read and wait until it may be on its way to a log, for each of the two; more is refused.
    pub waiting_bytes: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            insecure: false,
            data_dir: "roster-data".into(),
            switch_dir: PathBuf::new(),
            durability: Durability::Synced,
            log: LogSection::default(),
            sessions: SessionSection::default(),
            watches: WatchSection::default(),
            limits: LimitSection::default(),
        }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            rebuild_min: ByteSize::mib(16),
            rebuild_growth: 2.0,
            history: Span(Duration::from_secs(7 * 24 * 3600)),
            history_max: ByteSize::gib(4),
            segment_max: ByteSize::mib(64),
        }
    }
}

impl Default for SessionSection {
    fn default() -> Self {
        Self {
            restart_grace: Span(Duration::from_secs(35)),
            ping_interval: Span(Duration::from_secs(5)),
            ping_timeout: Span(Duration::from_secs(5)),
            check_timeout: Span(Duration::from_secs(1)),
            guard_fraction: 0.3,
            guard_least: 5,
        }
    }
}

impl Default for WatchSection {
    fn default() -> Self {
        Self {
            outbox_groups: 16_384,
            outbox_bytes: ByteSize::mib(4),
            resume_bytes: ByteSize::mib(16),
            bookmark_interval: Span(Duration::from_secs(10)),
        }
    }
}

impl Default for LimitSection {
    fn default() -> Self {
        Self {
            connections: 10_000,
            calls: 4_096,
            streams_per_connection: 1_000,
            sessions: 100_000,
            watch_streams: 100_000,
            watches_per_stream: 100_000,
            message_bytes: ByteSize::mib(4),
            operations_per_message: 10_000,
            messages_in_flight: 64,
            producers: 100_000,
            consumers: 100_000,
            batches_in_flight: 32,
            operation_bytes: ByteSize::mib(8),
            publish_bytes: ByteSize::mib(64),
            waiting_bytes: ByteSize::mib(64),
        }
    }
}

/// A length of time that is written as people write it: `"35s"`, `"7days"`, `"0s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|error| {
            serde::de::Error::custom(format!("{text:?} is no length of time such as \"35s\" or \"7days\": {error}"))
        })
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{origin} is not valid TOML: {message}")]
    Syntax { origin: String, message: String },
    #[error("unknown setting {key:?} in {origin}; `roster serve --print-settings` shows all")]
    Unknown { key: String, origin: String },
    #[error("a setting is wrong: {0}")]
    Value(String),
    #[error("{0}")]
    Check(String),
}

impl Settings {
    /// Joins defaults, a file, the environment and overrides (`("log.history", "15min")`), in this order.
    ///
    /// # Errors
    /// [`SettingsError`] names the file, key or value that is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
        overrides: &[(String, String)],
    ) -> Result<Self, SettingsError> {
        let mut joined = Self::default().to_table();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
            let origin = path.display().to_string();
            let table: toml::Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
                origin: origin.clone(),
                message: error.to_string(),
            })?;
            overlay(&mut joined, table, "", &origin)?;
            readable(&joined, &origin)?;
        }
        for key in keys_of(&joined, "") {
            let variable = format!("ROSTER_{}", key.replace(['.', '-'], "_").to_uppercase());
            if let Some(text) = environment(&variable) {
                set(&mut joined, &key, &text, &variable)?;
                readable(&joined, &format!("{key} in {variable}"))?;
            }
        }
        for (key, text) in overrides {
            set(&mut joined, key, text, "the command line")?;
            readable(&joined, &format!("{key} on the command line"))?;
        }
        readable(&joined, "the settings")?.check()
    }

    /// The settings as TOML, every knob shown.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.to_table().to_string()
    }

    fn to_table(&self) -> toml::Table {
        #[expect(clippy::expect_used, reason = "plain data without maps or options always serialises")]
        toml::Table::try_from(self).expect("settings are plain data")
    }

    fn check(self) -> Result<Self, SettingsError> {
        let wrong = |message: String| Err(SettingsError::Check(message));
        if !self.listen.ip().is_loopback() && !self.insecure {
            return wrong(format!(
                "listening on {} would serve everybody who can reach it, without credentials; listen on 127.0.0.1, or say --insecure if the network is trusted",
                self.listen
            ));
        }
        if self.log.rebuild_growth.is_nan() || self.log.rebuild_growth < 1.0 {
            return wrong(format!("log.rebuild-growth is {}; it must be at least 1", self.log.rebuild_growth));
        }
        if !(0.0..=1.0).contains(&self.sessions.guard_fraction) {
            return wrong(format!(
                "sessions.guard-fraction is {}; it is a share from 0 to 1",
                self.sessions.guard_fraction
            ));
        }
        if self.data_dir.as_os_str().is_empty() {
            return wrong("data-dir is empty; name a directory".into());
        }
        if self.switch_dir == self.data_dir {
            return wrong("switch-dir is data-dir; name another directory or leave it empty".into());
        }
        if self.sessions.ping_interval.0.is_zero() || self.sessions.ping_timeout.0.is_zero() {
            return wrong("sessions.ping-interval and sessions.ping-timeout must be longer than 0s".into());
        }
        if self.sessions.check_timeout.0.is_zero() {
            return wrong("sessions.check-timeout must be longer than 0s".into());
        }
        if self.watches.bookmark_interval.0 > BOOKMARK_INTERVAL_MAX {
            let max = humantime::format_duration(BOOKMARK_INTERVAL_MAX);
            return wrong(format!(
                "watches.bookmark-interval is {max} at most; clients take a longer silence for loss"
            ));
        }
        let bytes = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        for (key, value, least) in [
            ("limits.connections", self.limits.connections, 1),
            ("limits.calls", self.limits.calls, 1),
            ("limits.streams-per-connection", self.limits.streams_per_connection as usize, 1),
            ("limits.sessions", self.limits.sessions, 1),
            ("limits.watch-streams", self.limits.watch_streams, 1),
            ("limits.watches-per-stream", self.limits.watches_per_stream, 1),
            ("limits.messages-in-flight", self.limits.messages_in_flight, 1),
            ("limits.producers", self.limits.producers, 1),
            ("limits.consumers", self.limits.consumers, 1),
            ("limits.batches-in-flight", self.limits.batches_in_flight, 1),
            ("limits.operation-bytes", bytes(self.limits.operation_bytes), MESSAGE_BYTES_MIN),
            ("limits.publish-bytes", bytes(self.limits.publish_bytes), MESSAGE_BYTES_MIN),
            ("limits.waiting-bytes", bytes(self.limits.waiting_bytes), MESSAGE_BYTES_MIN),
            ("limits.operations-per-message", self.limits.operations_per_message, OPERATIONS_PER_MESSAGE_MIN),
            ("limits.message-bytes", bytes(self.limits.message_bytes), MESSAGE_BYTES_MIN),
            ("watches.outbox-groups", self.watches.outbox_groups, 1),
        ] {
            if value < least {
                return wrong(format!("{key} is {value}; at least {least} is needed"));
            }
        }
        Ok(self)
    }
}

/// Puts the values of `layer` over those of `base`; a key that `base` does not have is unknown.
fn overlay(base: &mut toml::Table, layer: toml::Table, below: &str, origin: &str) -> Result<(), SettingsError> {
    for (key, value) in layer {
        let path = if below.is_empty() { key.clone() } else { format!("{below}.{key}") };
        match (base.get_mut(&key), value) {
            (None, _) => return Err(SettingsError::Unknown { key: path, origin: origin.to_owned() }),
            (Some(toml::Value::Table(base)), toml::Value::Table(layer)) => overlay(base, layer, &path, origin)?,
            (Some(slot), value) => *slot = value,
        }
    }
    Ok(())
}

/// The settings that a table says, or what is wrong with what was put in last.
fn readable(table: &toml::Table, what: &str) -> Result<Settings, SettingsError> {
    let wrong = |error: toml::de::Error| SettingsError::Value(format!("{what}: {}", error.message()));
    table.clone().try_into().map_err(wrong)
}

/// Sets one key from a text, read as the type that stands there.
fn set(table: &mut toml::Table, key: &str, text: &str, origin: &str) -> Result<(), SettingsError> {
    let unknown = || SettingsError::Unknown { key: key.to_owned(), origin: origin.to_owned() };
    let wrong = |wanted: &str| SettingsError::Value(format!("{key} in {origin} is {text:?}; {wanted} is wanted"));
    let mut slot: Option<&mut toml::Value> = None;
    for part in key.split('.') {
        slot = match slot {
            None => table.get_mut(part),
            Some(value) => value.as_table_mut().and_then(|table| table.get_mut(part)),
        };
        if slot.is_none() {
            return Err(unknown());
        }
    }
    let slot = slot.ok_or_else(unknown)?;
    *slot = match slot {
        toml::Value::String(_) => toml::Value::String(text.to_owned()),
        toml::Value::Integer(_) => toml::Value::Integer(text.parse().map_err(|_| wrong("a whole number"))?),
        toml::Value::Float(_) => toml::Value::Float(text.parse().map_err(|_| wrong("a number"))?),
        toml::Value::Boolean(_) => toml::Value::Boolean(text.parse().map_err(|_| wrong("true or false"))?),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => return Err(unknown()),
    };
    Ok(())
}

fn keys_of(table: &toml::Table, below: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in table {
        let path = if below.is_empty() { key.clone() } else { format!("{below}.{key}") };
        match value.as_table() {
            Some(inner) => keys.extend(keys_of(inner, &path)),
            None => keys.push(path),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_environment(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn printed_settings_load_again_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("roster.toml");
        std::fs::write(&file, Settings::default().to_toml()).unwrap();
        assert_eq!(Settings::load(Some(&file), no_environment, &[]).unwrap(), Settings::default());
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("roster.toml");
        std::fs::write(&file, "durability = \"os\"\n[log]\nhistory = \"1h\"\nrebuild-min = \"3 MiB\"\n").unwrap();
        let environment = |name: &str| match name {
            "ROSTER_LOG_HISTORY" => Some("2h".to_owned()),
            "ROSTER_LISTEN" => Some("127.0.0.1:1".to_owned()),
            _ => None,
        };
        let flags = [("listen".to_owned(), "127.0.0.1:2".to_owned())];
        let settings = Settings::load(Some(&file), environment, &flags).unwrap();
        assert_eq!(settings.durability, Durability::Os);
        assert_eq!(settings.log.rebuild_min, ByteSize::mib(3));
        assert_eq!(settings.log.history, Span(Duration::from_secs(7200)));
        assert_eq!(settings.listen.port(), 2);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("roster.toml");
        std::fs::write(&file, "[log]\nhistroy = \"1h\"\n").unwrap();
        let error = Settings::load(Some(&file), no_environment, &[]).unwrap_err().to_string();
        assert!(error.contains("log.histroy") && error.contains("roster.toml"), "{error}");
    }

    #[test]
    fn listening_beyond_loopback_needs_to_be_said() {
        let flags = |insecure: &str| {
            [("listen".to_owned(), "0.0.0.0:7400".to_owned()), ("insecure".to_owned(), insecure.to_owned())]
        };
        assert!(Settings::load(None, no_environment, &flags("false")).is_err());
        assert!(Settings::load(None, no_environment, &flags("true")).is_ok());
    }
}
