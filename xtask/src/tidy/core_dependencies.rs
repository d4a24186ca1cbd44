//! The core cannot do IO, and the build proves it: its dependencies are those of an allow-list.

use super::finding::Finding;
use super::tree::Tree;

const MANIFEST: &str = "crates/roster-core/Cargo.toml";
/// None of them can open a file or a socket, ask for the time, or start a thread.
const ALLOWED: [&str; 3] = ["bytes", "smol_str", "thiserror"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let manifests = tree.manifests();
    let Some((_, _, manifest)) = manifests.iter().find(|(path, ..)| *path == MANIFEST) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for section in ["dependencies", "build-dependencies", "target"] {
        let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
        for name in table.keys().filter(|name| !ALLOWED.contains(&name.as_str())) {
            let mut lines = tree.text(MANIFEST).unwrap_or_default().lines();
            let line = lines.position(|line| line.starts_with(name.as_str())).map_or(1, |index| index + 1);
            let what = format!("the core may not depend on {name}");
            let mend = format!("bring what it gives inside a command; allowed are {}", ALLOWED.join(", "));
            findings.push(Finding::new(MANIFEST, line, what, mend));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(manifest: &str) -> usize {
        let manifest = format!("[package]\nname = \"roster-core\"\n{manifest}");
        check(&Tree::of([(MANIFEST, &manifest)])).len()
    }

    #[test]
    fn only_the_allowed_may_be_used() {
        assert_eq!(found("[dependencies]\nbytes.workspace = true\nthiserror = \"2\"\n"), 0);
        assert_eq!(found("[dependencies]\nbytes.workspace = true\ntokio = \"1\"\n"), 1);
    }

    #[test]
    fn its_tests_may_use_anything() {
        assert_eq!(found("[dev-dependencies]\nproptest = \"1\"\n"), 0);
    }

    #[test]
    fn a_dependency_of_one_target_is_no_way_round() {
        assert_eq!(found("[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n"), 1);
    }
}
