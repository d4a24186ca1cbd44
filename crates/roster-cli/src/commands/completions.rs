//! `roster completions SHELL`: the completion script of a shell.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::exit::Exit;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster completions bash > /etc/bash_completion.d/roster
  roster completions zsh > \"${fpath[1]}/_roster\"
  roster completions fish > ~/.config/fish/completions/roster.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(completions: &Completions) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Arguments::command(), "roster", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Exit::Success)
}
