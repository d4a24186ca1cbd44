//! Colour, only where a person sees it.

use std::io::IsTerminal;

use comfy_table::Color;

/// Whether colours are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// On a terminal.
    Colours,
    /// Into a file or a pipe, or when the environment has `NO_COLOR` (no-color.org) or `TERM=dumb`.
    Plain,
}

/// What a text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Ordinary,
    Good,
    Careful,
    Bad,
    Faint,
}

impl Paint {
    /// As standard output allows.
    pub(crate) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        if std::io::stdout().is_terminal() && !unwanted { Self::Colours } else { Self::Plain }
    }

    /// The text in its tone.
    pub(crate) fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Ordinary => None,
            Tone::Good => Some("32"),
            Tone::Careful => Some("33"),
            Tone::Bad => Some("31"),
            Tone::Faint => Some("2"),
        };
        match (self, code) {
            (Self::Colours, Some(code)) => format!("\x1b[{code}m{text}\x1b[0m"),
            (Self::Colours, None) | (Self::Plain, _) => text.to_owned(),
        }
    }

    /// The colour of a cell.
    pub(crate) fn colour(self, tone: Tone) -> Option<Color> {
        let colour = match tone {
            Tone::Ordinary => None,
            Tone::Good => Some(Color::Green),
            Tone::Careful => Some(Color::Yellow),
            Tone::Bad => Some(Color::Red),
            Tone::Faint => Some(Color::DarkGrey),
        };
        match self {
            Self::Colours => colour,
            Self::Plain => None,
        }
    }
}
