//! Code that may be written on the way but not kept: debug prints, placeholders, tests that are
//! switched off, and tests that sleep instead of waiting for a state with a deadline.

use super::finding::Finding;
use super::layers::{self, Line};
use super::tree::Tree;

enum Where {
    Everywhere,
    InTests,
}

struct Rule {
    code: &'static str,
    place: Where,
    mend: &'static str,
}

const RULES: [Rule; 5] = [
    Rule { code: "dbg!", place: Where::Everywhere, mend: "remove it, or log with tracing" },
    Rule { code: "todo!", place: Where::Everywhere, mend: "write it, or return an error that says so" },
    Rule { code: "unimplemented!", place: Where::Everywhere, mend: "write it, or return an error that says so" },
    Rule { code: "#[ignore", place: Where::Everywhere, mend: "mend the test or remove it" },
    Rule { code: "thread::sleep", place: Where::InTests, mend: "wait for a state with a deadline" },
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources().flat_map(|(path, text)| check_source(path, &layers::split(text))).collect()
}

fn check_source(path: &str, lines: &[Line]) -> Vec<Finding> {
    let tests_begin = layers::tests_begin(path, lines);
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        for rule in &RULES {
            let applies = match rule.place {
                Where::Everywhere => true,
                Where::InTests => index >= tests_begin,
            };
            if applies && has(&line.code, rule.code) {
                findings.push(Finding::new(path, index + 1, format!("`{}`", rule.code), rule.mend));
            }
        }
    }
    findings
}

/// Not as the end of a longer word.
fn has(code: &str, what: &str) -> bool {
    code.match_indices(what).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, source: &str) -> Vec<String> {
        check(&Tree::of([(path, source)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn placeholders_are_found_in_code_only() {
        assert_eq!(found("a/src/a.rs", "fn a() { todo!() }").len(), 1);
        assert_eq!(found("a/src/a.rs", "// todo!()\nfn a() { print(\"todo!\") }"), Vec::<String>::new());
        assert_eq!(found("a/src/a.rs", "fn a() { my_todo!() }"), Vec::<String>::new());
    }

    #[test]
    fn a_sleep_is_found_in_tests_only() {
        let source = "fn a() { thread::sleep(x) }\n#[cfg(test)]\nmod tests {\n  fn b() { thread::sleep(x) }\n}\n";
        assert_eq!(found("a/src/a.rs", source), ["a/src/a.rs:4: `thread::sleep`: wait for a state with a deadline"]);
        assert_eq!(found("a/tests/a.rs", "fn a() { std::thread::sleep(x) }").len(), 1);
    }

    #[test]
    fn a_test_that_is_switched_off_is_found() {
        assert_eq!(found("a/tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}").len(), 1);
    }
}
