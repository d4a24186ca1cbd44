//! `cargo xtask test`: the tidy checks, the examples that end by themselves, the instruction counts, and every test
//! with the doc tests. Needs nothing but the Rust toolchain and a C compiler; uses cargo-nextest when it is there, and
//! counts instructions where valgrind is there or can be installed.

use std::path::Path;

use anyhow::Context;

use crate::tidy::{self, Tree};
use crate::{bench, steps};

/// An example whose module head says so is run; any other is only built, for it may serve for ever.
const ENDS: &str = "ends by itself";

/// # Errors
/// At the first step that fails.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    tidy::run(root)?;
    let examples = run_examples(root)?;
    println!("{examples} examples ran to their end");
    bench::gate(root)?;
    let common = ["--workspace", "--all-features", "--locked"];
    if steps::has_cargo_command("nextest") {
        steps::cargo(root, &[&["test"][..], &common, &["--doc"]].concat())?;
        // Last, so that its summary closes the output.
        return steps::cargo(root, &[&["nextest", "run"][..], &common].concat());
    }
    let closing = steps::cargo_keeping(root, &[&["test"][..], &common].concat(), is_closing_line)?;
    println!("\n{} test runs; the closing lines:", closing.len());
    for line in &closing {
        println!("  {line}");
    }
    println!("{}", total(&closing));
    Ok(())
}

fn run_examples(root: &Path) -> anyhow::Result<usize> {
    let tree = Tree::read(root)?;
    let ending = ending_examples(&tree);
    for (package, example) in &ending {
        steps::cargo(
            root,
            &["run", "--quiet", "--all-features", "--locked", "--package", package, "--example", example],
        )
        .with_context(|| format!("the example {example} of {package}"))?;
    }
    Ok(ending.len())
}

/// Pairs of package and example; `crates/PACKAGE/examples/EXAMPLE.rs` whose head says that it ends.
fn ending_examples(tree: &Tree) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, text) in tree.texts_ending_in(".rs") {
        let parts: Vec<&str> = path.split('/').collect();
        let ["crates", package, "examples", file] = parts[..] else { continue };
        let head = text.lines().take_while(|line| line.starts_with("//!"));
        if head.into_iter().any(|line| line.to_lowercase().contains(ENDS)) {
            found.push((package.to_owned(), file.trim_end_matches(".rs").to_owned()));
        }
    }
    found
}

fn is_closing_line(line: &str) -> bool {
    line.starts_with("test result:")
}

/// The closing lines added up: `test result: ok. 12 passed; 0 failed; …`.
fn total(closing: &[String]) -> String {
    let sum = |what: &str| -> u64 {
        let parts = closing.iter().flat_map(|line| line.split([';', '.']));
        parts.filter_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u64>().ok()).sum()
    };
    format!("in all: {} passed, {} failed", sum("passed"), sum("failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up() {
        let lines = [
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s",
        ];
        assert_eq!(total(&lines.map(str::to_owned)), "in all: 15 passed, 2 failed");
    }

    #[test]
    fn only_examples_that_say_so_are_run() {
        let tree = Tree::of([
            ("crates/roster-client/examples/hello.rs", "//! Says hello. Ends by itself.\nfn main() {}\n"),
            ("crates/roster-client/examples/worker.rs", "//! Serves until a signal.\nfn main() {}\n"),
            ("crates/roster-client/src/lib.rs", "//! A library that ends by itself.\n"),
        ]);
        assert_eq!(ending_examples(&tree), [("roster-client".to_owned(), "hello".to_owned())]);
    }
}
