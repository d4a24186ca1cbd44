//! Where output goes and in which form. The only place that writes to standard output.

use std::io::{self, Write};

use serde::Serialize;

use super::paint::Paint;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned, for people; coloured on a terminal
    Table,
    /// One document, or one object a line for streams
    Json,
    /// Plain lines for scripts; fields are separated by a tab
    Text,
}

/// Something that can be printed in each form. Its JSON is what `Serialize` gives.
pub(crate) trait Shown: Serialize {
    /// For people, with its line ends.
    fn table(&self, paint: Paint) -> String;
    /// For scripts, with its line ends. The order of fields never changes; new ones come last.
    fn text(&self) -> String;
}

/// Standard output in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    format: Format,
    paint: Paint,
}

impl Screen {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, paint: Paint::of_stdout() }
    }

    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// The one answer of a command.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn show(self, shown: &impl Shown) -> io::Result<()> {
        match self.format {
            Format::Table => write(&shown.table(self.paint)),
            Format::Json => write(&format!("{}\n", serde_json::to_string_pretty(shown)?)),
            Format::Text => write(&shown.text()),
        }
    }

    /// One of many, as it comes: in JSON an object on a line of its own.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn show_next(self, shown: &impl Shown) -> io::Result<()> {
        match self.format {
            Format::Table | Format::Text => self.show(shown),
            Format::Json => write(&format!("{}\n", serde_json::to_string(shown)?)),
        }
    }

    /// Goes by while an answer is in the making: only for people.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn show_in_passing(self, line: impl FnOnce(Paint) -> String) -> io::Result<()> {
        match self.format {
            Format::Table => write(&line(self.paint)),
            Format::Json | Format::Text => Ok(()),
        }
    }
}

/// In one piece and at once: a stream that is read by a program must not wait in a buffer.
fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
