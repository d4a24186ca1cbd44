//! No dependency stands in Cargo.lock in two versions, but for a list with reasons.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::tree::Tree;

const LOCK: &str = "Cargo.lock";
/// Each with the reason why it cannot be helped; an entry that is no longer needed is a finding.
const ALLOWED: [(&str, &str); 6] = [
    ("console", "indicatif is ahead of similar-asserts (golden tests only)"),
    ("hashbrown", "petgraph (code generation only) is behind indexmap"),
    ("itertools", "prost-build (code generation only) is behind prost-derive"),
    ("syn", "derive macros move from 2 to 3 one by one; build time only"),
    ("unicode-width", "miette (code generation only) holds 0.1"),
    ("windows-sys", "not built on Linux; one each for console and the rest"),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    compare(tree.text(LOCK).unwrap_or_default(), &ALLOWED)
}

fn compare(lock: &str, allowed: &[(&str, &str)]) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    let mut name = None;
    for (index, line) in lock.lines().enumerate() {
        if let Some(found) = quoted(line, "name = ") {
            name = Some((found, index + 1));
        } else if let Some(version) = quoted(line, "version = ")
            && let Some((name, at)) = name.take()
        {
            versions.entry(name).or_default().push((version, at));
        }
    }
    let mut findings = Vec::new();
    for (name, found) in versions.iter().filter(|(_, found)| found.len() > 1) {
        if !allowed.iter().any(|(allowed, _)| allowed == name) {
            let list: Vec<&str> = found.iter().map(|(version, _)| *version).collect();
            let what = format!("{name} stands in versions {}", list.join(" and "));
            let mend = "`cargo tree --duplicates` shows who asks; agree on one, or allow it with a reason";
            findings.push(Finding::new(LOCK, found[0].1, what, mend));
        }
    }
    for (name, _) in allowed {
        if versions.get(name).is_none_or(|found| found.len() < 2) {
            let what = format!("{name} is allowed in several versions but stands in one");
            findings.push(Finding::new(LOCK, 1, what, "take it off the list of the check"));
        }
    }
    findings
}

fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKED: &str = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\n\
        version = \"2.0.0\"\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n";

    #[test]
    fn a_second_version_is_found_unless_allowed() {
        let found = compare(LOCKED, &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("Cargo.lock:2: a stands in versions 1.0.0 and 2.0.0"));
        assert!(compare(LOCKED, &[("a", "because")]).is_empty());
    }

    #[test]
    fn a_permission_that_nobody_needs_is_found() {
        assert_eq!(compare(LOCKED, &[("a", "because"), ("b", "because")]).len(), 1);
    }
}
