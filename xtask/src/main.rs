//! The one door: `cargo xtask ci|test|tidy|codegen`.

mod codegen;

use clap::Parser;

/// Builds, tests and tidies Roster.
#[derive(Parser)]
enum Task {
    /// Generates the protobuf code that is committed.
    Codegen,
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Codegen => codegen::run(),
    }
}
