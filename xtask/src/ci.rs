//! `cargo xtask ci`: everything that must pass before a change is merged, the quickest first.

use std::ffi::OsStr;
use std::path::Path;

use crate::{steps, test};

/// # Errors
/// At the first step that fails.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    steps::cargo(root, &["fmt", "--all", "--check"])?;
    steps::cargo(
        root,
        &["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "--deny", "warnings"],
    )?;
    test::run(root)?;
    steps::cargo(root, &["build", "--release", "--locked", "--package", "roster-cli"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsStr::new("target").into());
    let roster = root.join(target).join("release").join("roster");
    steps::run(root, roster.as_os_str(), &["demo"])
}
