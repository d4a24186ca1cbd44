//! Runs the benchmarks under valgrind and reads how many instructions each took.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use super::tools;

/// Package and benchmark; the file is `crates/PACKAGE/benches/BENCHMARK.rs`.
const BENCHES: [(&str, &str); 4] =
    [("roster-client", "sdk"), ("roster-core", "machines"), ("roster-proto", "wire"), ("roster-store", "log")];

/// Instructions by benchmark, `BENCHMARK/GROUP/FUNCTION`.
pub(crate) type Counts = BTreeMap<String, u64>;

/// # Errors
/// When a benchmark cannot be built or run.
pub(crate) fn run(root: &Path) -> anyhow::Result<Counts> {
    let runner = tools::runner(root)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut arguments = vec!["bench", "--locked"];
    for (package, bench) in BENCHES {
        arguments.extend(["--package", package, "--bench", bench]);
    }
    arguments.extend(["--features", "roster-client/bench", "--", "--output-format=json"]);
    eprintln!("\n== cargo {}", arguments.join(" "));
    let output = Command::new(cargo)
        .args(arguments)
        .env("GUNGRAUN_RUNNER", runner)
        // Both end up in the code that is counted.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("the benchmarks ended with {}", output.status);
    }
    let counts = read(&String::from_utf8_lossy(&output.stdout))?;
    if counts.is_empty() {
        bail!("the benchmarks said nothing");
    }
    Ok(counts)
}

/// One JSON object a line, one line a benchmark.
fn read(output: &str) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for line in output.lines().filter(|line| line.starts_with('{')) {
        let summary: Value = serde_json::from_str(line).context("read what a benchmark says")?;
        let name = summary["module_path"].as_str().context("a benchmark without a name")?.replace("::", "/");
        let instructions = summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"].as_u64();
        let instructions = instructions.with_context(|| format!("{name} does not say its instructions"))?;
        if counts.insert(name.clone(), instructions).is_some() {
            bail!("{name} was counted twice: give one of the two another name");
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, instructions: u64) -> String {
        let values = serde_json::json!({ "values": { "new": instructions } });
        let total = serde_json::json!({ "metrics": { "Ir": values } });
        serde_json::json!({ "module_path": name, "profiles": [{ "data": { "total": total } }] }).to_string()
    }

    #[test]
    fn instructions_are_read_by_name() {
        let output = format!("{}\nnoise\n{}\n", line("log::the_log::append", 7), line("wire::the_wire::encode", 8));
        let counts = read(&output).unwrap();
        assert_eq!(counts, [("log/the_log/append".to_owned(), 7), ("wire/the_wire/encode".to_owned(), 8)].into());
    }

    #[test]
    fn two_of_one_name_are_told_apart_by_nobody() {
        assert!(read(&format!("{}\n{}\n", line("a", 1), line("a", 2))).is_err());
    }
}
