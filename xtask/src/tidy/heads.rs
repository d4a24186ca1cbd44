//! Every source begins by saying what it is.

use super::finding::Finding;
use super::tree::Tree;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let headless = tree.sources().filter(|(_, text)| {
        let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        !first.is_some_and(|line| line.starts_with("//! "))
    });
    let mend = "begin with `//!` and say what it is, what it never does, what always holds";
    headless.map(|(path, _)| Finding::new(path, 1, "no module head", mend)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_a_head_is_found() {
        let tree = Tree::of([
            ("a/src/with.rs", "//! What it is.\nfn a() {}\n"),
            ("a/src/without.rs", "fn a() {}\n//! Too late.\n"),
            ("a/src/generated/any.rs", "fn a() {}\n"),
        ]);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a/src/without.rs:1: no module head: "), "{}", found[0]);
    }
}
