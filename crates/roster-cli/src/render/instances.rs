//! Instances: each a row, a line or an object.

use std::collections::BTreeMap;

use jiff::Timestamp;
use roster_core::directory::{Instance, Liveness, SuspectReason};
use roster_core::{InstanceId, Kind, Token};
use serde::Serialize;

use super::age;
use super::grid::{Grid, Side};
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// The instances of a service.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Instances(Vec<OneInstance>);

impl Instances {
    pub(crate) fn new(instances: &[Instance], main: Option<InstanceId>) -> Self {
        Self(instances.iter().map(|instance| OneInstance::new(instance, main)).collect())
    }
}

/// One of them, as scripts see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OneInstance {
    id: u64,
    service: String,
    address: String,
    host: String,
    port: u16,
    kind: &'static str,
    main: bool,
    node_index: u32,
    version: u64,
    weight: u32,
    zone: String,
    tags: Vec<String>,
    metadata: BTreeMap<String, String>,
    liveness: &'static str,
    suspect_reason: Option<&'static str>,
    draining: bool,
    pending: bool,
    session: u64,
    fencing_token: Option<u64>,
    registered: String,
    #[serde(skip)]
    registered_unix_ms: u64,
}

impl OneInstance {
    /// `main` is the main of its service, as far as it is known.
    pub(crate) fn new(instance: &Instance, main: Option<InstanceId>) -> Self {
        let said = &instance.registration;
        let suspect_reason = match instance.liveness {
            Liveness::Suspect(reason) => Some(reason_word(reason)),
            Liveness::Up | Liveness::Unconfirmed => None,
        };
        Self {
            id: instance.id.get(),
            service: said.service.as_str().to_owned(),
            address: said.address.to_string(),
            host: said.address.host().to_owned(),
            port: said.address.port(),
            kind: kind_word(said.kind),
            main: main == Some(instance.id),
            node_index: said.node_index,
            version: said.version,
            weight: said.weight,
            zone: said.zone.as_str().to_owned(),
            tags: said.tags.iter().map(str::to_owned).collect(),
            metadata: said.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            liveness: liveness_word(instance.liveness),
            suspect_reason,
            draining: instance.draining,
            pending: instance.pending,
            session: instance.session.get(),
            fencing_token: instance.token.map(Token::get),
            registered: age::stamp(instance.registered.get()),
            registered_unix_ms: instance.registered.get(),
        }
    }

    /// What matters most about it in a word or two.
    fn state(&self) -> (String, Tone) {
        match (self.pending, self.draining, self.liveness) {
            (true, ..) => ("pending".into(), Tone::Faint),
            (_, true, "up") => ("draining".into(), Tone::Careful),
            (_, false, "up") => ("up".into(), Tone::Good),
            (_, _, "unconfirmed") => ("unconfirmed".into(), Tone::Careful),
            (_, _, liveness) => match self.suspect_reason {
                Some(reason) => (format!("{liveness} ({reason})"), Tone::Bad),
                None => (liveness.to_owned(), Tone::Bad),
            },
        }
    }

    fn row(&self, now: Timestamp) -> Vec<(String, Tone)> {
        let ordinary = |text: String| (text, Tone::Ordinary);
        let kind = if self.main && self.kind != "singleton" { format!("{} *", self.kind) } else { self.kind.into() };
        vec![
            ordinary(self.address.clone()),
            ordinary(kind),
            ordinary(self.version.to_string()),
            self.state(),
            ordinary(self.weight.to_string()),
            ordinary(self.zone.clone()),
            ordinary(age::since(self.registered_unix_ms, now)),
            ordinary(self.session.to_string()),
            ordinary(self.id.to_string()),
            ordinary(self.fencing_token.map(|token| token.to_string()).unwrap_or_default()),
        ]
    }

    fn text_line(&self) -> String {
        let state = match (self.pending, self.draining) {
            (true, _) => "pending",
            (false, true) if self.liveness == "up" => "draining",
            (false, _) => self.liveness,
        };
        let token = self.fencing_token.map(|token| token.to_string()).unwrap_or_default();
        [
            self.address.as_str(),
            self.kind,
            &self.version.to_string(),
            state,
            &self.session.to_string(),
            &self.id.to_string(),
            &self.weight.to_string(),
            &self.zone,
            &token,
            &self.service,
        ]
        .join("\t")
            + "\n"
    }
}

impl Shown for Instances {
    fn table(&self, paint: Paint) -> String {
        const COLUMNS: [(&str, Side); 10] = [
            ("address", Side::Left),
            ("kind", Side::Left),
            ("version", Side::Right),
            ("state", Side::Left),
            ("weight", Side::Right),
            ("zone", Side::Left),
            ("age", Side::Right),
            ("session", Side::Right),
            ("instance", Side::Right),
            ("token", Side::Right),
        ];
        // Columns that nobody filled only push the others apart.
        let zones = self.0.iter().any(|instance| !instance.zone.is_empty());
        let tokens = self.0.iter().any(|instance| instance.fencing_token.is_some());
        let wanted = |column: usize| match COLUMNS[column].0 {
            "zone" => zones,
            "token" => tokens,
            _ => true,
        };
        let columns: Vec<_> = (0..COLUMNS.len()).filter(|&at| wanted(at)).map(|at| COLUMNS[at]).collect();
        let mut grid = Grid::new(paint, &columns);
        let now = Timestamp::now();
        for instance in &self.0 {
            let cells = instance.row(now).into_iter().enumerate();
            grid.row(cells.filter(|(at, _)| wanted(*at)).map(|(_, cell)| cell));
        }
        grid.lines()
    }

    fn text(&self) -> String {
        self.0.iter().map(OneInstance::text_line).collect()
    }
}

/// The main of a service alone.
impl Shown for OneInstance {
    fn table(&self, paint: Paint) -> String {
        Instances(vec![self.clone()]).table(paint)
    }

    fn text(&self) -> String {
        self.text_line()
    }
}

/// As it is written on the command line.
pub(crate) fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Member => "member",
        Kind::Main => "main",
        Kind::Singleton => "singleton",
    }
}

pub(super) fn liveness_word(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Up => "up",
        Liveness::Unconfirmed => "unconfirmed",
        Liveness::Suspect(_) => "suspect",
    }
}

pub(super) fn reason_word(reason: SuspectReason) -> &'static str {
    match reason {
        SuspectReason::StreamClosed => "stream closed",
        SuspectReason::PingTimeout => "ping timeout",
        SuspectReason::CheckFailed => "check failed",
    }
}
