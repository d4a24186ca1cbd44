//! What probes of sessions have found.

use roster_client::CheckOutcome;
use serde::Serialize;

use super::grid::{Grid, Side};
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// Each session with what its probe found.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Checks(Vec<OneCheck>);

#[derive(Debug, Serialize)]
struct OneCheck {
    session: u64,
    /// The addresses that it has registered for the service.
    addresses: Vec<String>,
    outcome: &'static str,
    #[serde(skip)]
    tone: Tone,
}

impl Checks {
    pub(crate) fn add(&mut self, session: u64, addresses: Vec<String>, outcome: CheckOutcome) {
        let (outcome, tone) = match outcome {
            CheckOutcome::Alive => ("alive", Tone::Good),
            CheckOutcome::Suspect => ("suspect", Tone::Bad),
            CheckOutcome::Unconfirmed => ("unconfirmed", Tone::Careful),
            CheckOutcome::Unknown => ("unknown", Tone::Faint),
        };
        self.0.push(OneCheck { session, addresses, outcome, tone });
    }
}

impl Shown for Checks {
    fn table(&self, paint: Paint) -> String {
        let columns = [("session", Side::Right), ("outcome", Side::Left), ("addresses", Side::Left)];
        let mut grid = Grid::new(paint, &columns);
        for check in &self.0 {
            grid.row([
                (check.session.to_string(), Tone::Ordinary),
                (check.outcome.to_owned(), check.tone),
                (check.addresses.join(" "), Tone::Ordinary),
            ]);
        }
        grid.lines()
    }

    fn text(&self) -> String {
        let line = |check: &OneCheck| format!("{}\t{}\t{}\n", check.session, check.outcome, check.addresses.join(","));
        self.0.iter().map(line).collect()
    }
}
