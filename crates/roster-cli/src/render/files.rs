//! What verifying and repairing the files of a log has shown.

use roster_store::Damage;
use roster_store::tools::{FileReport, FileRole, RepairMode, RepairReport, VerifyReport};
use serde::Serialize;

use super::grid::{Grid, Side};
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// The files of a log, and what is wrong with them.
#[derive(Debug, Serialize)]
pub(crate) struct Verified {
    sound: bool,
    next_position: u64,
    files: Vec<OneFile>,
    problems: Vec<Problem>,
    /// A last write that was not finished; the next start cuts it off.
    torn: Option<Problem>,
}

#[derive(Debug, Serialize)]
struct OneFile {
    path: String,
    role: &'static str,
    bytes: u64,
    entries: u64,
    first_position: Option<u64>,
    last_position: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Problem {
    path: String,
    offset: u64,
    what: String,
}

impl Verified {
    pub(crate) fn new(report: &VerifyReport) -> Self {
        Self {
            sound: report.is_sound(),
            next_position: report.next_position.get(),
            files: report.files.iter().map(OneFile::new).collect(),
            problems: report.problems.iter().map(Problem::new).collect(),
            torn: report.torn.as_ref().map(Problem::new),
        }
    }
}

impl OneFile {
    fn new(file: &FileReport) -> Self {
        Self {
            path: file.path.display().to_string(),
            role: match file.role {
                FileRole::Manifest => "manifest",
                FileRole::Snapshot => "snapshot",
                FileRole::Segment => "segment",
                FileRole::History => "history",
                FileRole::Unnamed => "unnamed",
            },
            bytes: file.bytes,
            entries: file.entries,
            first_position: file.positions.map(|(first, _)| first.get()),
            last_position: file.positions.map(|(_, last)| last.get()),
        }
    }

    fn positions(&self) -> String {
        match (self.first_position, self.last_position) {
            (Some(first), Some(last)) => format!("{first}-{last}"),
            (Some(_) | None, _) => String::new(),
        }
    }
}

impl Problem {
    fn new(damage: &Damage) -> Self {
        Self { path: damage.file.display().to_string(), offset: damage.offset, what: damage.what.clone() }
    }

    fn sentence(&self) -> String {
        format!("{} at byte {}: {}", self.path, self.offset, self.what)
    }
}

impl Shown for Verified {
    fn table(&self, paint: Paint) -> String {
        let columns = [
            ("role", Side::Left),
            ("bytes", Side::Right),
            ("entries", Side::Right),
            ("positions", Side::Right),
            ("file", Side::Left),
        ];
        let mut grid = Grid::new(paint, &columns);
        for file in &self.files {
            let tone = if file.role == "unnamed" { Tone::Careful } else { Tone::Ordinary };
            grid.row([
                (file.role.to_owned(), tone),
                (file.bytes.to_string(), Tone::Ordinary),
                (file.entries.to_string(), Tone::Ordinary),
                (file.positions(), Tone::Ordinary),
                (file.path.clone(), Tone::Ordinary),
            ]);
        }
        let mut lines = grid.lines();
        lines.push('\n');
        for problem in &self.problems {
            lines.push_str(&paint.text(Tone::Bad, &format!("damaged: {}", problem.sentence())));
            lines.push('\n');
        }
        if let Some(torn) = &self.torn {
            let torn = format!("an unfinished last write, which the next start cuts off: {}", torn.sentence());
            lines.push_str(&paint.text(Tone::Careful, &torn));
            lines.push('\n');
        }
        let (tone, verdict) = if self.sound { (Tone::Good, "sound") } else { (Tone::Bad, "damaged") };
        lines.push_str(&format!("{}; the next position is {}\n", paint.text(tone, verdict), self.next_position));
        lines
    }

    fn text(&self) -> String {
        let mut lines = String::new();
        for file in &self.files {
            let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
            let (first, last) = (number(file.first_position), number(file.last_position));
            let OneFile { path, role, bytes, entries, .. } = file;
            lines.push_str(&format!("file\t{role}\t{path}\t{bytes}\t{entries}\t{first}\t{last}\n"));
        }
        let problems = self.problems.iter().map(|problem| ("problem", problem));
        for (word, problem) in problems.chain(self.torn.iter().map(|torn| ("torn", torn))) {
            lines.push_str(&format!("{word}\t{}\t{}\t{}\n", problem.path, problem.offset, problem.what));
        }
        lines
    }
}

/// What a repair has done, or would do.
#[derive(Debug, Serialize)]
pub(crate) struct Repaired {
    applied: bool,
    actions: Vec<String>,
    /// First and last.
    lost_positions: Option<(u64, u64)>,
    next_position: u64,
}

impl Repaired {
    pub(crate) fn new(report: &RepairReport) -> Self {
        Self {
            applied: report.mode == RepairMode::Apply,
            actions: report.actions.iter().map(ToString::to_string).collect(),
            lost_positions: report.lost.map(|lost| (lost.first.get(), lost.last.get())),
            next_position: report.next_position.get(),
        }
    }
}

impl Shown for Repaired {
    fn table(&self, paint: Paint) -> String {
        if self.actions.is_empty() {
            let sound = paint.text(Tone::Good, "nothing to repair");
            return format!("{sound}; the next position is {}\n", self.next_position);
        }
        let mut lines = String::from(if self.applied { "done:\n" } else { "to do:\n" });
        for action in &self.actions {
            lines.push_str(&format!("  {action}\n"));
        }
        match self.lost_positions {
            Some((first, last)) => {
                let lost = format!(
                    "lost: positions {first} to {last}, which are given out anew; tell whatever checks fencing tokens among them"
                );
                lines.push_str(&paint.text(Tone::Bad, &lost));
                lines.push('\n');
            }
            None => lines.push_str("nothing is lost\n"),
        }
        lines.push_str(&format!("the next position is {}\n", self.next_position));
        lines
    }

    fn text(&self) -> String {
        let mut lines: String = self.actions.iter().map(|action| format!("{action}\n")).collect();
        if let Some((first, last)) = self.lost_positions {
            lines.push_str(&format!("lost\t{first}\t{last}\n"));
        }
        lines.push_str(&format!("next\t{}\n", self.next_position));
        lines
    }
}
