//! No source is longer than what a reader takes in at a sitting.

use super::finding::Finding;
use super::tree::Tree;

/// Nine of ten should be under 400; this is the end of it.
const LINES_MAX: usize = 600;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let measured = tree.sources().map(|(path, text)| (path, text.lines().count()));
    let long = measured.filter(|(_, lines)| *lines > LINES_MAX);
    let finding = |(path, lines)| {
        Finding::new(path, LINES_MAX + 1, format!("{lines} lines; {LINES_MAX} at most"), "cut it where a name fits")
    };
    long.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed() {
        let (at, above) = ("//! x\n".repeat(LINES_MAX), "//! x\n".repeat(LINES_MAX + 1));
        let tree = Tree::of([("a/src/at.rs", &at), ("a/src/above.rs", &above)]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("a/src/above.rs:601: 601 lines"));
    }
}
