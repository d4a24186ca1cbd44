//! Goes through all the checks and prints what they find.

use std::path::Path;

use anyhow::bail;

use super::finding::Finding;
use super::tree::Tree;
use super::{core_dependencies, duplicates, edges, forbidden, generated, heads, invariants, lengths, names, paths};

/// Prints each finding on a line of its own.
///
/// # Errors
/// When there is any.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let tree = Tree::read(root)?;
    let checks: [fn(&Tree) -> Vec<Finding>; 9] = [
        edges::check,
        core_dependencies::check,
        duplicates::check,
        heads::check,
        names::check,
        lengths::check,
        forbidden::check,
        invariants::check,
        paths::check,
    ];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check(&tree)).collect();
    findings.extend(generated::check(root)?);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, nothing found", tree.len());
            Ok(())
        }
        1 => bail!("tidy: 1 finding"),
        count => bail!("tidy: {count} findings"),
    }
}
