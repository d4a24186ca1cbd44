//! The committed protobuf code is what the .proto files give.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::finding::Finding;
use crate::codegen::{self, GENERATED};

/// Generates the code into a folder that is thrown away, and compares.
///
/// # Errors
/// When the .proto files do not compile, or a file cannot be read.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let fresh = tempfile::tempdir().context("create a folder for the generated code")?;
    codegen::generate(root, fresh.path())?;
    compare(&root.join(GENERATED), fresh.path())
}

fn compare(committed: &Path, fresh: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut names = names_in(committed)?;
    names.extend(names_in(fresh)?);
    let differing = names.into_iter().filter(|name| {
        let read = |folder: &Path| fs::read(folder.join(name)).ok();
        read(committed) != read(fresh)
    });
    let finding = |name: OsString| {
        let path = format!("{GENERATED}/{}", name.display());
        Finding::new(&path, 1, "differs from what the .proto files give", "run `cargo xtask codegen` and commit")
    };
    Ok(differing.map(finding).collect())
}

fn names_in(folder: &Path) -> anyhow::Result<BTreeSet<OsString>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_missing_and_left_over_files_are_found() {
        let (committed, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (folder, name, text) in [
            (&committed, "same.rs", "a"),
            (&fresh, "same.rs", "a"),
            (&committed, "changed.rs", "a"),
            (&fresh, "changed.rs", "b"),
            (&committed, "left-over.rs", "a"),
            (&fresh, "missing.rs", "a"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let found = compare(committed.path(), fresh.path()).unwrap();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        for (found, name) in found.iter().zip(["changed.rs", "left-over.rs", "missing.rs"]) {
            assert!(found.starts_with(&format!("{GENERATED}/{name}:1: ")), "{found}");
        }
    }
}
