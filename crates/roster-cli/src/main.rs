//! The binary `roster`: a node to serve, and everything that a person or a script asks of one.
//!
//! It uses the public API and the libraries of the workspace; it holds no rule of its own. A command
//! is a file in `commands`, what it prints is a file in `render`, and every way it can end is in `exit`.

mod arguments;
mod commands;
mod exit;
mod render;
mod wrapped;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::exit::Exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(asked) if !asked.use_stderr() => {
            // Help and version. A closed pipe is nobody's loss.
            let _ = asked.print();
            return Exit::Success.into();
        }
        Err(wrong) => {
            let text = wrong.render().to_string();
            eprint!("roster: {}", text.strip_prefix("error: ").unwrap_or(&text));
            return Exit::Usage.into();
        }
    };
    match commands::run(arguments) {
        Ok(exit) => exit.into(),
        Err(error) if exit::is_closed_pipe(&error) => Exit::Success.into(),
        Err(error) => {
            eprintln!("roster: {}", exit::chain(&error));
            exit::of(&error).into()
        }
    }
}
