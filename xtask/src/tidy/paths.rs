//! Every path of the repository that a page names exists.
//!
//! A path is a text in backticks, outside of code blocks, whose first part is a folder of the root,
//! or a name like `CHANGELOG.md`; and the target of every link that is not a web address.

use super::finding::Finding;
use super::tree::Tree;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let pages = tree.texts_ending_in(".md").filter(|(path, _)| !path.contains('/') || path.starts_with("docs/"));
    pages.flat_map(|(path, text)| check_page(tree, path, text)).collect()
}

fn check_page(tree: &Tree, page: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        if in_block {
            continue;
        }
        let named = line.split('`').skip(1).step_by(2).filter(|text| is_path(tree, text));
        let missing_paths = named.filter(|path| !tree.has(path));
        let missing_links = links(line).filter(|link| !tree.has(&resolve(page, link)));
        for path in missing_paths.chain(missing_links) {
            let mend = "write the path as it is, or remove it";
            findings.push(Finding::new(page, index + 1, format!("`{path}` does not exist"), mend));
        }
    }
    findings
}

fn is_path(tree: &Tree, text: &str) -> bool {
    if text.contains(|c: char| c.is_whitespace() || "*<>{}$…:".contains(c)) {
        return false;
    }
    match text.split_once('/') {
        Some((first, _)) => !first.is_empty() && tree.has(first),
        None => text.strip_suffix(".md").is_some_and(|stem| stem.chars().all(|c| c.is_ascii_uppercase() || c == '-')),
    }
}

/// The targets of `[text](target)` inside the repository, without their anchors.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split_once(')')?.0;
        let path = target.split('#').next().unwrap_or(target);
        (!path.is_empty() && !path.contains("://") && !path.starts_with("mailto:")).then_some(path)
    })
}

/// A link counts from the folder of its page.
fn resolve(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str, text: &str) -> usize {
        let tree = Tree::of([(page, text), ("crates/a/src/lib.rs", ""), ("docs/b.md", "")]);
        check(&tree).len()
    }

    #[test]
    fn a_path_in_backticks_must_exist() {
        assert_eq!(found("README.md", "See `crates/a/src/lib.rs` and `crates/a/`."), 0);
        assert_eq!(found("README.md", "See `crates/a/src/gone.rs` and `GONE.md`."), 2);
    }

    #[test]
    fn what_only_looks_like_a_path_is_left_alone() {
        assert_eq!(found("README.md", "`team/orders` `crates/*/src` `/metrics` `roster.toml` `cd crates/gone`"), 0);
        assert_eq!(found("README.md", "```\n`crates/gone`\n```\n"), 0);
    }

    #[test]
    fn a_link_counts_from_its_page() {
        assert_eq!(found("docs/c.md", "[b](b.md#there) [lib](../crates/a/src/lib.rs) [web](https://a.example/b)"), 0);
        assert_eq!(found("docs/c.md", "[b](docs/b.md)"), 1);
    }
}
