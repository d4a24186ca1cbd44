//! A scene of the demo: told to people as it is played, given to scripts when it has ended.

use std::io;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::grid::{Grid, Side};
use super::paint::{Paint, Tone};
use super::screen::{Screen, Shown};

/// How wide the words before a value are.
const LABEL_CHARS: usize = 66;
const VALUE_CHARS: usize = 9;

/// What was found out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Measure {
    /// In the output for scripts in milliseconds; its name ends in `_ms`.
    Took(Duration),
    Count(usize),
}

/// One scene.
#[derive(Debug)]
pub(crate) struct SceneReport {
    screen: Screen,
    number: usize,
    name: &'static str,
    title: &'static str,
    values: Vec<(&'static str, Value)>,
    highlights: Vec<(&'static str, Measure)>,
    failures: Vec<String>,
}

#[derive(Debug)]
enum Value {
    Measured(Measure),
    Fact(Fact),
}

/// What is only for scripts.
#[derive(Debug)]
pub(crate) enum Fact {
    Word(String),
    Words(Vec<String>),
    Took(Duration),
    Number(u64),
}

impl Fact {
    fn text(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Words(words) => words.join(","),
            Self::Took(took) => millis(*took).to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => word.serialize(serializer),
            Self::Words(words) => words.serialize(serializer),
            Self::Took(took) => millis(*took).serialize(serializer),
            Self::Number(number) => number.serialize(serializer),
        }
    }
}

impl SceneReport {
    /// Shows its title.
    ///
    /// # Errors
    /// When standard output cannot be written, as of everything that is told in passing.
    pub(crate) fn begin(screen: Screen, number: usize, name: &'static str, title: &'static str) -> io::Result<Self> {
        screen.show_in_passing(|paint| format!("{} {title}\n", paint.text(Tone::Good, &format!("{number:>2}"))))?;
        Ok(Self { screen, number, name, title, values: Vec::new(), highlights: Vec::new(), failures: Vec::new() })
    }

    /// A sentence for people.
    pub(crate) fn say(&self, sentence: &str) -> io::Result<()> {
        self.screen.show_in_passing(|paint| format!("   {}\n", paint.text(Tone::Faint, sentence)))
    }

    /// A line for people that is neither a sentence nor a value, with its indent and its line end.
    pub(crate) fn pass(&self, line: impl FnOnce(Paint) -> String) -> io::Result<()> {
        self.screen.show_in_passing(line)
    }

    /// A value for scripts.
    pub(crate) fn fact(&mut self, name: &'static str, fact: Fact) {
        self.values.push((name, Value::Fact(fact)));
    }

    /// A value for both.
    pub(crate) fn measure(&mut self, name: &'static str, label: &str, measure: Measure) -> io::Result<()> {
        self.values.push((name, Value::Measured(measure)));
        self.screen.show_in_passing(|_| {
            let dots = LABEL_CHARS.saturating_sub(label.chars().count());
            format!("   {label} {} {:>VALUE_CHARS$}\n", ".".repeat(dots), shown(measure))
        })
    }

    /// Has what was measured under this name stand in the summary, in other words.
    pub(crate) fn highlight(&mut self, name: &str, words: &'static str) {
        let measures = self.values.iter().filter_map(|(known, value)| match value {
            Value::Measured(measure) if *known == name => Some(*measure),
            Value::Measured(_) | Value::Fact(_) => None,
        });
        self.highlights.extend(measures.map(|measure| (words, measure)).next_back());
    }

    /// Says what is wrong when what should hold does not.
    pub(crate) fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.failures.push(otherwise());
        }
    }

    /// It did not come to its end.
    pub(crate) fn fail(&mut self, why: String) {
        self.failures.push(why);
    }

    /// Everything that is wrong.
    pub(crate) fn failure(&self) -> Option<String> {
        (!self.failures.is_empty()).then(|| self.failures.join("; "))
    }
}

impl Serialize for SceneReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &self.number)?;
        map.serialize_entry("step", self.name)?;
        map.serialize_entry("title", self.title)?;
        map.serialize_entry("ok", &self.failures.is_empty())?;
        map.serialize_entry("values", &Values(&self.values))?;
        map.serialize_entry("failures", &self.failures)?;
        map.end()
    }
}

struct Values<'a>(&'a [(&'static str, Value)]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            match value {
                Value::Measured(Measure::Took(took)) => map.serialize_entry(name, &millis(*took))?,
                Value::Measured(Measure::Count(count)) => map.serialize_entry(name, count)?,
                Value::Fact(fact) => map.serialize_entry(name, fact)?,
            }
        }
        map.end()
    }
}

impl Shown for SceneReport {
    /// What has not been told in passing.
    fn table(&self, paint: Paint) -> String {
        let failures =
            self.failures.iter().map(|why| format!("   {}\n", paint.text(Tone::Bad, &format!("failed: {why}"))));
        failures.chain(["\n".to_owned()]).collect()
    }

    fn text(&self) -> String {
        let mut lines = String::new();
        for (name, value) in &self.values {
            let value = match value {
                Value::Measured(Measure::Took(took)) => millis(*took).to_string(),
                Value::Measured(Measure::Count(count)) => count.to_string(),
                Value::Fact(fact) => fact.text(),
            };
            lines.push_str(&format!("{}\t{name}\t{value}\n", self.name));
        }
        for why in &self.failures {
            lines.push_str(&format!("{}\tfailed\t{why}\n", self.name));
        }
        lines
    }
}

/// What was highlighted, of all scenes.
#[derive(Debug, Default)]
pub(crate) struct Summary(Vec<(&'static str, Measure)>);

impl Summary {
    pub(crate) fn take(&mut self, report: &mut SceneReport) {
        self.0.append(&mut report.highlights);
    }

    pub(crate) fn table(&self, paint: Paint) -> String {
        let mut grid = Grid::new(paint, &[("in short", Side::Left), ("measured", Side::Right)]);
        for (words, measure) in &self.0 {
            grid.row([((*words).to_owned(), Tone::Ordinary), (shown(*measure), Tone::Good)]);
        }
        grid.lines() + "\n"
    }
}

fn shown(measure: Measure) -> String {
    match measure {
        Measure::Took(took) => span(took),
        Measure::Count(count) => count.to_string(),
    }
}

/// With three digits that count: `0.42 ms`, `12.3 ms`, `3.01 s`.
fn span(took: Duration) -> String {
    let millis = took.as_secs_f64() * 1e3;
    match millis {
        ..10.0 => format!("{millis:.2} ms"),
        10.0..100.0 => format!("{millis:.1} ms"),
        100.0..1_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1e3),
    }
}

/// To the microsecond.
fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Format;

    fn report() -> SceneReport {
        let mut report = SceneReport::begin(Screen::new(Format::Json), 4, "kill", "One is killed.").unwrap();
        report.fact("address", Fact::Word("127.0.0.1:9".to_owned()));
        report.measure("suspect_ms", "killed → suspect", Measure::Took(Duration::from_nanos(1_234_567))).unwrap();
        report
    }

    #[test]
    fn a_scene_is_one_object_with_its_values() {
        let mut report = report();
        report.expect(false, || "it flapped".to_owned());
        let object = serde_json::to_string(&report).unwrap();
        assert_eq!(
            object,
            r#"{"number":4,"step":"kill","title":"One is killed.","ok":false,"values":{"address":"127.0.0.1:9","suspect_ms":1.235},"failures":["it flapped"]}"#
        );
        assert_eq!(report.text(), "kill\taddress\t127.0.0.1:9\nkill\tsuspect_ms\t1.235\nkill\tfailed\tit flapped\n");
    }

    #[test]
    fn what_is_highlighted_stands_in_the_summary() {
        let mut report = report();
        report.highlight("suspect_ms", "a killed process is suspect");
        let mut summary = Summary::default();
        summary.take(&mut report);
        assert_eq!(
            summary.table(Paint::Plain),
            "IN SHORT                     MEASURED\na killed process is suspect   1.23 ms\n\n"
        );
    }

    #[test]
    fn a_span_has_three_digits_that_count() {
        let shown = [420, 12_345, 123_456, 3_011_000].map(|micros| span(Duration::from_micros(micros)));
        assert_eq!(shown, ["0.42 ms", "12.3 ms", "123 ms", "3.01 s"]);
    }
}
