//! One second of a cluster in a line: its members, and how the messages flow.

use std::time::Duration;

use super::paint::{Paint, Tone};

/// How a member stands, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It has not come yet, or has left.
    Absent,
    Up,
    /// It died.
    Killed,
}

/// What is shown of one second.
#[derive(Debug)]
pub(crate) struct Passing<'a> {
    pub(crate) second: u64,
    pub(crate) members: &'a [Mark],
    pub(crate) sent: usize,
    pub(crate) received: usize,
    /// The longest time without a reception in this second.
    pub(crate) gap: Duration,
    /// What happened in it, in few words.
    pub(crate) news: &'a str,
}

const SENT_CHARS: usize = 9;
const GAP_CHARS: usize = 8;

impl Passing<'_> {
    /// What stands above the lines for that many members.
    pub(crate) fn head(members: usize, paint: Paint) -> String {
        let line = format!(
            "         {:members$}  up {:>SENT_CHARS$} {:>SENT_CHARS$} {:>GAP_CHARS$}",
            "members", "sent", "received", "gap"
        );
        format!("{}\n", paint.text(Tone::Faint, line.trim_end()))
    }

    pub(crate) fn line(&self, paint: Paint) -> String {
        let bar: String = self.members.iter().map(|mark| mark.shown(paint)).collect();
        // As wide as the word above it.
        let rest = " ".repeat("members".len().saturating_sub(self.members.len()));
        let up = self.members.iter().filter(|mark| **mark == Mark::Up).count();
        let gap = format!("{:.1} ms", self.gap.as_secs_f64() * 1e3);
        let line = format!(
            "   {:>3} s {bar}{rest} {up:>3} {:>SENT_CHARS$} {:>SENT_CHARS$} {gap:>GAP_CHARS$}",
            self.second,
            grouped(self.sent),
            grouped(self.received),
        );
        match self.news {
            "" => format!("{line}\n"),
            news => format!("{line}  {}\n", paint.text(Tone::Faint, news)),
        }
    }
}

impl Mark {
    fn shown(self, paint: Paint) -> String {
        match self {
            Self::Absent => paint.text(Tone::Faint, "·"),
            Self::Up => paint.text(Tone::Good, "●"),
            Self::Killed => paint.text(Tone::Bad, "✗"),
        }
    }
}

/// With a comma after each third digit from the right.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_a_line_under_its_head() {
        let members = [Mark::Up, Mark::Killed, Mark::Up, Mark::Absent, Mark::Absent, Mark::Absent, Mark::Absent];
        let (sent, received) = (1_002_034, 1_002_031);
        let gap = Duration::from_micros(4_260);
        let second = Passing { second: 12, members: &members, sent, received, gap, news: "2 is killed" };
        let expected = "         members  up      sent  received      gap
    12 s ●✗●····   2 1,002,034 1,002,031   4.3 ms  2 is killed
";
        assert_eq!(Passing::head(members.len(), Paint::Plain) + &second.line(Paint::Plain), expected);
    }

    #[test]
    fn few_members_leave_the_columns_where_they_are() {
        let second =
            Passing { second: 3, members: &[Mark::Up; 2], sent: 999, received: 0, gap: Duration::ZERO, news: "" };
        assert_eq!(second.line(Paint::Plain), "     3 s ●●        2       999         0   0.0 ms\n");
    }
}
