//! The repository in memory: its paths, and the texts of those that are text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;

/// What cargo and git make; everything else below the root is looked at.
const SKIPPED: [&str; 2] = ["target", ".git"];
const TEXTS: [&str; 5] = [".rs", ".md", ".toml", ".lock", ".proto"];
/// Tests keep their scripts and expectations beside them; they may be where an invariant is named.
const TEST_FOLDER: &str = "/tests/";

/// Paths are relative to the root, with `/`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    paths: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl Tree {
    /// Reads every file below `root`.
    ///
    /// # Errors
    /// When a folder or file cannot be read, or a text is not UTF-8.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        tree.walk(root, "")?;
        Ok(tree)
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> anyhow::Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("read {}", folder.display()))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"))?;
                continue;
            }
            if TEXTS.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(entry.path()).with_context(|| format!("read {path}"))?;
                self.texts.insert(path.clone(), text);
            } else if path.contains(TEST_FOLDER)
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                self.texts.insert(path.clone(), text);
            }
            self.paths.insert(path);
        }
        Ok(())
    }

    /// A tree for a test.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        let texts: BTreeMap<_, _> = files.into_iter().map(|(path, text)| (path.into(), text.into())).collect();
        Self { paths: texts.keys().cloned().collect(), texts }
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether a file or a folder of that name is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let below = format!("{path}/");
        self.paths.contains(path)
            || self.paths.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
    }

    /// Every path.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Every text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The texts whose path ends so.
    pub(crate) fn texts_ending_in<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts().filter(move |(path, _)| path.ends_with(ending))
    }

    /// The Rust sources that people wrote.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts_ending_in(".rs").filter(|(path, _)| !path.contains("/generated/"))
    }

    /// The manifests of the members, as `(path, package name, manifest)`.
    ///
    /// A manifest that does not parse is left out: cargo itself says so better.
    pub(crate) fn manifests(&self) -> Vec<(&str, String, toml::Table)> {
        let manifests = self.texts_ending_in("/Cargo.toml").filter_map(|(path, text)| {
            let manifest: toml::Table = text.parse().ok()?;
            let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
            Some((path, name, manifest))
        });
        manifests.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_when_something_is_in_it() {
        let tree = Tree::of([("crates/roster-core/src/lib.rs", "")]);
        assert!(tree.has("crates/roster-core"));
        assert!(tree.has("crates/roster-core/"));
        assert!(!tree.has("crates/roster"));
        assert!(!tree.has("crates/roster-core/src/lib"));
    }

    #[test]
    fn generated_files_are_no_sources() {
        let tree = Tree::of([("crates/a/src/generated/messages.rs", ""), ("crates/a/src/lib.rs", "")]);
        assert_eq!(tree.sources().map(|(path, _)| path).collect::<Vec<_>>(), ["crates/a/src/lib.rs"]);
    }
}
