//! There is no drawer: a file or folder is named after what it holds.

use super::finding::Finding;
use super::tree::Tree;

const DRAWERS: [&str; 9] = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "stuff"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in tree.paths() {
        let words = path.split(['/', '_', '-', '.']);
        if let Some(drawer) = words.into_iter().find(|word| DRAWERS.contains(&word.to_lowercase().as_str())) {
            let mend = "name it after the one thing it holds, or leave each part beside its first user";
            findings.push(Finding::new(path, 1, format!("`{drawer}` is a drawer"), mend));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawers_are_found_wherever_they_stand_in_a_path() {
        let tree = Tree::of([
            ("a/src/utils.rs", ""),
            ("a/src/string_helpers.rs", ""),
            ("a/tests/common/mod.rs", ""),
            ("a/src/commonplace.rs", ""),
        ]);
        assert_eq!(check(&tree).len(), 3);
    }
}
