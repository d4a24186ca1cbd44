//! The crates depend on one another exactly as the table in docs/architecture.md says.
//!
//! The table stands between two HTML comments: its first column names a crate, its last the crates
//! that it may depend on, each in backticks. Dependencies of tests are free.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::tree::Tree;

const PAGE: &str = "docs/architecture.md";
const BEGIN: &str = "<!-- crates -->";
const END: &str = "<!-- /crates -->";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else {
        return vec![Finding::new(PAGE, 1, "the page is not there", "write it with the table of crates")];
    };
    let table = rows(page);
    if table.is_empty() {
        let mend = format!("put it between {BEGIN} and {END}");
        return vec![Finding::new(PAGE, 1, "the table of crates is not there", mend)];
    }
    let manifests = tree.manifests();
    let members: Vec<&str> = manifests.iter().map(|(_, name, _)| name.as_str()).collect();
    let mut findings = Vec::new();

    for (path, name, manifest) in &manifests {
        let Some(row) = table.get(name) else {
            let mend = format!("add its row to {PAGE}");
            findings.push(Finding::new(path, 1, format!("{name} is not in the table of crates"), mend));
            continue;
        };
        let used: Vec<&str> = dependencies(manifest).into_iter().filter(|used| members.contains(used)).collect();
        for &other in &used {
            if !row.allowed.iter().any(|allowed| allowed == other) {
                let line = line_of(tree, path, other);
                let what = format!("{name} may not depend on {other}");
                findings.push(Finding::new(path, line, what, format!("remove it, or argue the edge in {PAGE}")));
            }
        }
        for allowed in &row.allowed {
            if !used.contains(&allowed.as_str()) {
                let what = format!("{name} does not depend on {allowed}");
                findings.push(Finding::new(PAGE, row.line, what, "take it out of the row"));
            }
        }
    }
    for (name, row) in &table {
        if !members.contains(&name.as_str()) {
            findings.push(Finding::new(PAGE, row.line, format!("no crate is called {name}"), "remove the row"));
        }
    }
    findings
}

struct Row {
    line: usize,
    allowed: Vec<String>,
}

fn rows(page: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let numbered = page.lines().enumerate();
    let inside = numbered.skip_while(|(_, text)| text.trim() != BEGIN).take_while(|(_, text)| text.trim() != END);
    for (index, text) in inside {
        let Some(cells) = text.trim().strip_prefix('|').and_then(|text| text.strip_suffix('|')) else { continue };
        let cells: Vec<&str> = cells.split('|').collect();
        let (Some(first), Some(last)) = (cells.first(), cells.last()) else { continue };
        // The heading and the rule below it have no backticks.
        let Some(name) = in_backticks(first).next() else { continue };
        rows.insert(name.to_owned(), Row { line: index + 1, allowed: in_backticks(last).map(str::to_owned).collect() });
    }
    rows
}

fn in_backticks(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// What the manifest depends on outside of tests, on any target.
fn dependencies(manifest: &toml::Table) -> Vec<&str> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table);
    let sections = std::iter::once(manifest).chain(tables);
    let sections = sections.flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")]);
    sections.flatten().filter_map(toml::Value::as_table).flat_map(toml::Table::keys).map(String::as_str).collect()
}

fn line_of(tree: &Tree, path: &str, dependency: &str) -> usize {
    let lines = tree.text(path).unwrap_or_default().lines();
    lines.into_iter().position(|line| line.starts_with(dependency)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &str = "[package]\nname = \"roster-core\"\n";
    const TABLE: &str = "\
        # Architecture\n<!-- crates -->\n| crate | its one reason | may depend on |\n|---|---|---|\n\
        | `roster-core` | the rules | – |\n| `roster-store` | the disk | `roster-core` |\n<!-- /crates -->\n";

    fn findings(store: &str, table: &str) -> Vec<String> {
        let tree = Tree::of([
            ("docs/architecture.md", table),
            ("crates/roster-core/Cargo.toml", CORE),
            ("crates/roster-store/Cargo.toml", store),
        ]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn edges_as_in_the_table_pass() {
        let store = "[package]\nname = \"roster-store\"\n[dependencies]\nroster-core.workspace = true\nbytes = \"1\"\n";
        assert!(findings(store, TABLE).is_empty());
    }

    #[test]
    fn an_edge_that_the_table_does_not_have_is_found() {
        let table = TABLE.replace("| `roster-core` |\n<", "| – |\n<");
        let store = "[package]\nname = \"roster-store\"\n[dependencies]\nroster-core.workspace = true\n";
        assert_eq!(
            findings(store, &table),
            ["crates/roster-store/Cargo.toml:4: roster-store may not depend on roster-core: \
              remove it, or argue the edge in docs/architecture.md"]
        );
    }

    #[test]
    fn an_edge_that_only_the_table_has_is_found() {
        let store = "[package]\nname = \"roster-store\"\n[dev-dependencies]\nroster-core.workspace = true\n";
        let found = findings(store, TABLE);
        assert_eq!(
            found,
            ["docs/architecture.md:6: roster-store does not depend on roster-core: take it out of the row"]
        );
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        let found = findings("[package]\nname = \"roster-disk\"\n", TABLE);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("roster-disk is not in the table of crates"));
        assert!(found[1].contains("no crate is called roster-store"));
    }
}
