//! The page: what stands between two marks is written anew, the rest of it is by hand and stays.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::conditions::Conditions;
use super::growth;
use super::record::Record;
use super::samples::{Samples, Spread};
use super::workloads::{Kind, Workload};

const BEGIN: &str = "<!-- measured:begin -->";
const END: &str = "<!-- measured:end -->";

/// What was measured, on which machine, and how quiet it was.
pub(super) fn head(record: &Record) -> String {
    let Conditions { processor, cores, memory_gib, kernel, .. } = &record.before;
    // Without it the run was ended before its end.
    let after = record.after.as_ref().map(|after| {
        format!(" Afterwards the sync took {} µs, and the load average was {}.", after.sync_us, after.load)
    });
    let mut text = format!(
        "\n### Conditions\n\n\
         * {cores} cores ({processor}), {memory_gib} GiB, Linux {kernel}; clients and servers share the cores and \
         the loopback.\n\
         * Appending {} bytes and syncing them took {} µs before the run (median), at a load average of {}.{}\n\
         * {} rounds, in each of which every system did everything in turn, on a new folder of the same disk. \
         A figure is the median, with the least and the most in brackets.\n\
         * Every server syncs before it answers, except where its name says otherwise.\n",
        512,
        record.before.sync_us,
        record.before.load,
        after.unwrap_or_default(),
        record.rounds
    );
    for (name, version) in &record.versions {
        let commit = if name == "Roster" { format!(", commit {}", record.commit) } else { String::new() };
        let _ = writeln!(text, "* {name}: `{version}`{commit}.");
    }
    for failure in &record.failures {
        let _ = writeln!(text, "* Not measured: {failure}");
    }
    text
}

pub(super) fn section(workload: &Workload, samples: &Samples, charts: &[(String, String)]) -> String {
    let systems: Vec<_> = workload.systems.iter().filter(|system| samples.has(workload, **system)).collect();
    let mut text = format!("\n### {}: {}\n", workload.id, workload.title);
    if systems.is_empty() {
        text.push_str("\nNot measured.\n");
        return text;
    }
    let is_growth = workload.kind == Kind::Growth;
    if is_growth {
        text.push_str(&growth::tables(samples, workload));
    }
    let names: Vec<&str> = systems.iter().map(|system| system.name()).collect();
    let _ = writeln!(text, "\n| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for name in samples.names(workload).into_iter().filter(|name| !is_growth || !growth::shows(name)) {
        let cell =
            |system| samples.spread(workload, system, &name).map_or("–".to_owned(), |spread| range(&name, spread));
        let cells: Vec<String> = systems.iter().map(|system| cell(**system)).collect();
        let _ = writeln!(text, "| {} | {} |", label(&name), cells.join(" | "));
    }
    for (file, _) in charts {
        let _ = write!(text, "\n![{}](performance/{file})\n", workload.short());
    }
    text
}

/// The name of a figure without its unit, for people.
pub(super) fn label(name: &str) -> String {
    let bare = name.strip_suffix("_ms").or_else(|| name.strip_suffix("_bytes")).unwrap_or(name);
    match bare {
        "per_second" => "a second".to_owned(),
        "cpu_us_each" => "processor time of the server, each".to_owned(),
        _ => bare.replace('_', " "),
    }
}

pub(super) fn range(name: &str, Spread { median, least, most }: Spread) -> String {
    if least == most {
        return shown(name, median);
    }
    format!("{} ({} – {})", shown(name, median), shown(name, least), shown(name, most))
}

/// A value with the unit that its name says.
pub(super) fn shown(name: &str, value: f64) -> String {
    if name.starts_with("growth:") {
        return format!("{value:+.0} %");
    }
    if name.ends_with("_ms") {
        return if value >= 1_000.0 { format!("{:.2} s", value / 1_000.0) } else { format!("{} ms", digits(value)) };
    }
    if name.contains("bytes_per_second") {
        return format!("{} GB/s", digits(value / 1e9));
    }
    if name.contains("cpu_us") || name.ends_with("_us") {
        return format!("{} µs", digits(value));
    }
    if name.contains("bytes") {
        return match value.abs() {
            large if large >= 1024.0 * 1024.0 => format!("{} MiB", digits(value / 1024.0 / 1024.0)),
            middle if middle >= 10.0 * 1024.0 => format!("{} KiB", digits(value / 1024.0)),
            _ => format!("{value:.0} B"),
        };
    }
    if name.ends_with("_seconds") {
        return format!("{} s", digits(value));
    }
    if value >= 1_000.0 { grouped(value) } else { digits(value) }
}

/// Three digits that count.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small == small.trunc() => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

pub(super) fn grouped(value: f64) -> String {
    let plain = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// # Errors
/// When the page has no marks, or cannot be written.
pub(super) fn write(page: &Path, measured: &str) -> anyhow::Result<()> {
    let old = if page.exists() {
        fs::read_to_string(page).with_context(|| format!("read {}", page.display()))?
    } else {
        format!("# {}\n\n{BEGIN}\n{END}\n", page.file_stem().unwrap_or_default().display())
    };
    let new = replaced(&old, measured).with_context(|| format!("in {}", page.display()))?;
    fs::write(page, new).with_context(|| format!("write {}", page.display()))
}

fn replaced(page: &str, measured: &str) -> anyhow::Result<String> {
    let (Some(begin), Some(end)) = (page.find(BEGIN), page.find(END)) else {
        bail!("what was measured has no place: put {BEGIN} and {END} where it should stand")
    };
    let (before, after) = (page.get(..begin + BEGIN.len()), page.get(end..));
    let (Some(before), Some(after)) = (before, after.filter(|_| begin < end)) else {
        bail!("{END} stands before {BEGIN}")
    };
    Ok(format!("{before}\n{measured}\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_by_hand_stays() {
        let page = format!("by hand\n{BEGIN}\nold\n{END}\nalso by hand\n");
        let new = replaced(&page, "new").unwrap();
        assert_eq!(new, format!("by hand\n{BEGIN}\nnew\n{END}\nalso by hand\n"));
        assert_eq!(replaced(&new, "new").unwrap(), new, "twice is once");
        assert!(replaced("no marks", "new").is_err());
        assert!(replaced(&format!("{END}{BEGIN}"), "new").is_err());
    }

    #[test]
    fn a_value_has_the_unit_of_its_name() {
        let expected = [
            ("per_second", 123_456.7, "123,457"),
            ("read_p99_ms", 1.234, "1.23 ms"),
            ("read_p99_ms", 2_500.0, "2.50 s"),
            ("cpu_us_each", 12.34, "12.3 µs"),
            ("bytes_per_watch_at_5000", 340.4, "340 B"),
            ("idle_bytes", 10_485_760.0, "10.0 MiB"),
            ("syncs", 7.0, "7"),
        ];
        for (name, value, text) in expected {
            assert_eq!(shown(name, value), text, "{name}");
        }
    }
}
