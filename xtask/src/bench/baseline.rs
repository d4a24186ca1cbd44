//! The committed counts, one table for each toolchain, and what a run says beside them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::counts::Counts;

/// From the root of the workspace.
const FILE: &str = "xtask/instructions.toml";
/// More than this above the committed count is a failure.
const PERCENT_MAX: u64 = 3;
const HEAD: &str = "\
# Instructions of each benchmark, by toolchain. Written by `cargo xtask bench --save`.\n\
# Commit a higher count only together with the reason for it.\n";

/// # Errors
/// When the file cannot be read or written.
pub(crate) fn save(root: &Path, toolchain: &str, counts: &Counts) -> anyhow::Result<()> {
    let path = root.join(FILE);
    let mut all = if path.exists() { read(root)? } else { toml::Table::new() };
    let mut table = toml::Table::new();
    for (name, count) in counts {
        table.insert(name.clone(), toml::Value::Integer(i64::try_from(*count).context("too many instructions")?));
    }
    all.insert(toolchain.to_owned(), toml::Value::Table(table));
    fs::write(&path, format!("{HEAD}\n{}", toml::to_string(&all)?)).with_context(|| format!("write {FILE}"))?;
    println!("{}", Comparison::new(counts, counts).text(toolchain));
    println!("written to {FILE}");
    Ok(())
}

/// Whether counts are committed for this toolchain.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn knows(root: &Path, toolchain: &str) -> anyhow::Result<bool> {
    Ok(read(root)?.contains_key(toolchain))
}

/// # Errors
/// When a benchmark costs more than it may, when one is missing on either side, or when nothing is
/// committed for this toolchain.
pub(crate) fn compare(root: &Path, toolchain: &str, counts: &Counts) -> anyhow::Result<()> {
    let all = read(root)?;
    let Some(table) = all.get(toolchain).and_then(toml::Value::as_table) else {
        println!("{}", Comparison::new(&Counts::new(), counts).text(toolchain));
        let known: Vec<&str> = all.keys().map(String::as_str).collect();
        bail!(
            "no counts are committed for {toolchain}, only for [{}]: run `cargo xtask bench --save` with this \
             toolchain on a tree that is known to be good, and commit {FILE}",
            known.join("; ")
        );
    };
    let integer =
        |(name, value): (&String, &toml::Value)| Some((name.clone(), u64::try_from(value.as_integer()?).ok()?));
    let committed: Counts = table.iter().filter_map(integer).collect();
    let comparison = Comparison::new(&committed, counts);
    println!("{}", comparison.text(toolchain));
    let failures = comparison.failures();
    if !failures.is_empty() {
        bail!(
            "{}; make it cheaper, or commit the new counts with `cargo xtask bench --save` and the reason",
            failures.join("; ")
        );
    }
    Ok(())
}

fn read(root: &Path) -> anyhow::Result<toml::Table> {
    let text = fs::read_to_string(root.join(FILE)).with_context(|| format!("read {FILE}"))?;
    text.parse().with_context(|| format!("read {FILE}"))
}

/// Two runs side by side.
struct Comparison {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    committed: Option<u64>,
    counted: Option<u64>,
}

impl Row {
    fn is_too_dear(&self) -> bool {
        // In whole numbers: three percent of a number is no binary fraction.
        let (Some(committed), Some(counted)) = (self.committed, self.counted) else { return false };
        u128::from(counted) * 100 > u128::from(committed) * u128::from(100 + PERCENT_MAX)
    }

    fn percent(&self) -> Option<f64> {
        let (committed, counted) = (self.committed?, self.counted?);
        Some((counted as f64 / committed as f64 - 1.0) * 100.0)
    }
}

impl Comparison {
    fn new(committed: &Counts, counted: &Counts) -> Self {
        let mut names: Vec<&String> = committed.keys().chain(counted.keys()).collect();
        names.sort();
        names.dedup();
        let row = |name: &String| Row {
            name: name.clone(),
            committed: committed.get(name).copied(),
            counted: counted.get(name).copied(),
        };
        Self { rows: names.into_iter().map(row).collect() }
    }

    fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for row in &self.rows {
            match (row.committed, row.counted, row.percent()) {
                (Some(_), None, _) => failures.push(format!("{} is committed but did not run", row.name)),
                (None, _, _) => failures.push(format!("{} has no committed count", row.name)),
                (Some(_), Some(_), Some(percent)) if row.is_too_dear() => {
                    failures.push(format!("{} takes {percent:.1} % more than is committed", row.name));
                }
                (Some(_), Some(_), _) => {}
            }
        }
        failures
    }

    fn text(&self, toolchain: &str) -> String {
        let mut text = format!("\ninstructions with {toolchain}\n\n");
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let number = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), |count| count.to_string());
        let _ = writeln!(text, "{:width$}  {:>12}  {:>12}  {:>8}", "benchmark", "committed", "counted", "change");
        for row in &self.rows {
            let percent = row.percent().map_or_else(String::new, |percent| format!("{percent:+.2} %"));
            let (committed, counted) = (number(row.committed), number(row.counted));
            let _ = writeln!(text, "{:width$}  {committed:>12}  {counted:>12}  {percent:>8}", row.name);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(&str, u64)]) -> Counts {
        rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn failures(committed: &[(&str, u64)], counted: &[(&str, u64)]) -> Vec<String> {
        Comparison::new(&counts(committed), &counts(counted)).failures()
    }

    #[test]
    fn up_to_three_percent_more_and_any_less_pass() {
        assert!(failures(&[("a", 1_000), ("b", 1_000)], &[("a", 1_030), ("b", 500)]).is_empty());
    }

    #[test]
    fn more_than_three_percent_more_fails() {
        assert_eq!(failures(&[("a", 1_000)], &[("a", 1_031)]), ["a takes 3.1 % more than is committed"]);
    }

    #[test]
    fn what_is_only_on_one_side_fails() {
        let found = failures(&[("gone", 1)], &[("new", 1)]);
        assert_eq!(found, ["gone is committed but did not run", "new has no committed count"]);
    }

    #[test]
    fn what_was_saved_is_what_is_compared_with() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("xtask")).unwrap();
        save(root.path(), "one toolchain", &counts(&[("a", 1_000)])).unwrap();
        save(root.path(), "another", &counts(&[("a", 2_000)])).unwrap();
        compare(root.path(), "one toolchain", &counts(&[("a", 1_010)])).unwrap();
        assert!(compare(root.path(), "another", &counts(&[("a", 2_100)])).is_err());
        let missing = compare(root.path(), "a third", &counts(&[("a", 1_000)])).unwrap_err().to_string();
        assert!(missing.contains("no counts are committed for a third"), "{missing}");
    }
}
