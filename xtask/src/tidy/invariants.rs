//! An invariant that a module head states is kept by an assertion or shown by a test that names it.
//!
//! A head states one as `* **D1, no gaps**: …`. The id counts as named where it stands in the text
//! of an assertion, or anywhere in a test (as a word of its own, or as `d1_` at the start of a name).

use std::collections::BTreeMap;

use super::finding::Finding;
use super::layers::{self, Line};
use super::tree::Tree;

/// An assertion may stand some lines above its text.
const ASSERTION_LINES: usize = 8;
const ASSERTIONS: [&str; 5] = ["assert", "panic!", "unreachable!", "expect(", "ensure!"];
/// The fixtures of the checks themselves name invariants that do not exist.
const NOT_SEARCHED: &str = "xtask/";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut stated: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for (path, text) in tree.sources().filter(|(path, _)| !path.starts_with(NOT_SEARCHED)) {
        for (index, line) in text.lines().enumerate().take_while(|(_, line)| is_head(line)) {
            let Some(id) = stated_id(line) else { continue };
            match stated.get(id) {
                Some((other, at)) => {
                    let what = format!("invariant {id} is also stated at {other}:{at}");
                    findings.push(Finding::new(path, index + 1, what, "give one of the two another id"));
                }
                None => {
                    stated.insert(id, (path, index + 1));
                }
            }
        }
    }

    let named = Named::gather(tree);
    for (id, (path, line)) in stated {
        if !named.has(id) {
            let what = format!("invariant {id} is neither asserted nor tested");
            findings.push(Finding::new(
                path,
                line,
                what,
                format!("write `{id}` into the assertion or test that keeps it"),
            ));
        }
    }
    findings
}

fn is_head(line: &str) -> bool {
    line.starts_with("//!") || line.starts_with("#![") || line.trim().is_empty()
}

/// `D1` of `//! * **D1, no gaps**: …` and of `//! * **L3 no gaps**`.
fn stated_id(line: &str) -> Option<&str> {
    let (_, bold) = line.split_once("**")?;
    let id = &bold[..bold.find([' ', ',', ':', '*', '.'])?];
    let letters = id.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_id = !letters.is_empty()
        && letters.len() <= 2
        && letters.len() < id.len()
        && letters.chars().all(|c| c.is_ascii_uppercase());
    is_id.then_some(id)
}

/// The texts in which a name counts.
struct Named(Vec<String>);

impl Named {
    fn gather(tree: &Tree) -> Self {
        let mut texts = Vec::new();
        for (path, text) in tree.texts().filter(|(path, _)| !path.starts_with(NOT_SEARCHED)) {
            if !path.ends_with(".rs") {
                // Golden scripts beside the tests.
                if path.contains("/tests/") {
                    texts.push(text.to_owned());
                }
                continue;
            }
            let lines = layers::split(text);
            let tests_begin = layers::tests_begin(path, &lines);
            for (index, line) in lines.iter().enumerate() {
                if index >= tests_begin {
                    texts.push(format!("{} {} {}", line.code, line.comment, line.string));
                } else if is_asserted(&lines, index) {
                    texts.push(line.string.clone());
                }
            }
        }
        Self(texts)
    }

    fn has(&self, id: &str) -> bool {
        let in_names = format!("{}_", id.to_lowercase());
        self.0.iter().any(|text| {
            has_word(text, id, |c| c.is_alphanumeric() || c == '_')
                || text.match_indices(&in_names).any(|(at, _)| !text[..at].ends_with(char::is_alphanumeric))
        })
    }
}

fn is_asserted(lines: &[Line], index: usize) -> bool {
    if lines[index].string.is_empty() {
        return false;
    }
    let above = &lines[index.saturating_sub(ASSERTION_LINES)..=index];
    above.iter().any(|line| ASSERTIONS.iter().any(|assertion| line.code.contains(assertion)))
}

fn has_word(text: &str, word: &str, is_of_word: fn(char) -> bool) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_of_word) && !text[at + word.len()..].starts_with(is_of_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "//! The directory.\n//!\n//! # Always true\n//! * **Z1, no gaps**: one command, one step.\n\n";

    fn found(rest: &str) -> Vec<String> {
        let source = format!("{HEAD}{rest}");
        check(&Tree::of([("a/src/a.rs", &source)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_invariant_that_nothing_names_is_found() {
        assert_eq!(
            found("fn a() { let z1 = 1; }\n// Z1 is kept here.\n"),
            ["a/src/a.rs:4: invariant Z1 is neither asserted nor tested: \
              write `Z1` into the assertion or test that keeps it"]
        );
    }

    #[test]
    fn an_assertion_or_a_test_that_names_it_is_enough() {
        assert!(found("fn a() {\n  assert!(\n    a == b,\n    \"Z1: {a}\"\n  );\n}\n").is_empty());
        assert!(found("#[cfg(test)]\nmod tests {\n  // Z1\n  fn no_gaps() {}\n}\n").is_empty());
        assert!(found("#[cfg(test)]\nmod tests {\n  fn z1_no_gaps() {}\n}\n").is_empty());
    }

    #[test]
    fn a_longer_id_does_not_stand_for_a_shorter_one() {
        assert_eq!(found("fn a() { assert!(a == b, \"Z10\"); }\n").len(), 1);
    }

    #[test]
    fn two_invariants_of_one_id_are_found() {
        let again = format!("{HEAD}fn a() {{ assert!(true, \"Z1\"); }}\n");
        let tree = Tree::of([("a/src/a.rs", &again), ("a/src/b.rs", HEAD)]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("a/src/b.rs:4: invariant Z1 is also stated at a/src/a.rs:4"));
    }

    #[test]
    fn bold_words_are_no_ids() {
        assert_eq!(stated_id("//! * **D1, no gaps**: x"), Some("D1"));
        assert_eq!(stated_id("//! * **L3 no gaps**"), Some("L3"));
        assert_eq!(stated_id("//! **Rebuild** (snapshot)"), None);
        assert_eq!(stated_id("//! **SHA256, the sum**"), None);
    }
}
