//! The command line: the options that every subcommand has, and the list of subcommands.

use clap::{Parser, Subcommand};

use crate::commands::backup::Backup;
use crate::commands::bench::Bench;
use crate::commands::check::Check;
use crate::commands::completions::Completions;
use crate::commands::cutover::SetCutover;
use crate::commands::demo::{Demo, DemoPart};
use crate::commands::drain::Drain;
use crate::commands::get::Get;
use crate::commands::guard::Guard;
use crate::commands::log::Log;
use crate::commands::queue::Queue;
use crate::commands::rebuild::Rebuild;
use crate::commands::register::Register;
use crate::commands::restore::Restore;
use crate::commands::serve::Serve;
use crate::commands::services::ListServices;
use crate::commands::status::GetStatus;
use crate::commands::watch::Watch;
use crate::exit;
use crate::render::Format;

/// Roster: the live list of who is serving. A node keeps it; services register, consumers watch.
#[derive(Debug, Parser)]
#[command(name = "roster", version, max_term_width = 100, arg_required_else_help = true, after_help = after_help())]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every subcommand takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Everywhere {
    /// Where the node is; several, separated by commas, are tried in turn [env: ROSTER_SERVER]
    /// [default: http://127.0.0.1:7400]
    #[arg(long, global = true, value_name = "URL", value_delimiter = ',', help_heading = "Everywhere")]
    pub(crate) server: Vec<String>,
    /// The form of the output: table, json (one document, or an object a line for streams), or text
    /// (lines of fields between tabs)
    #[arg(
        long,
        short = 'o',
        global = true,
        value_enum,
        value_name = "FORM",
        hide_possible_values = true,
        default_value = "table",
        help_heading = "Everywhere"
    )]
    pub(crate) output: Format,
}

impl Everywhere {
    /// The nodes that the caller named, by the option or else by the environment. It is read here and
    /// not by the parser, whose usage lines would ask for the option wherever the environment has it.
    pub(crate) fn given(&self) -> Vec<String> {
        if !self.server.is_empty() {
            return self.server.clone();
        }
        let environment = std::env::var_os("ROSTER_SERVER").unwrap_or_default();
        let urls = environment.to_string_lossy();
        urls.split(',').filter(|url| !url.trim().is_empty()).map(str::to_owned).collect()
    }

    /// Where to look for a node: where the caller said, else where one is by default.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let given = self.given();
        if given.is_empty() { vec!["http://127.0.0.1:7400".to_owned()] } else { given }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a node
    Serve(Box<Serve>),
    /// Registers a service, and runs it if a command is given
    Register(Box<Register>),
    /// Follows what changes
    Watch(Watch),
    /// Lists services
    Services(ListServices),
    /// Shows the instances of a service
    Get(Get),
    /// Asks the node to probe the sessions of a service at once
    Check(Check),
    /// Takes an instance out of new work, and shows who has taken that in
    Drain(Drain),
    /// Says when a higher version takes over a service
    Cutover(SetCutover),
    /// Publishes, consumes, and everything else about work queues
    Queue(Queue),
    /// Shows how a node is doing
    Status(GetStatus),
    /// Releases whom the mass-loss guard holds
    Guard(Guard),
    /// Has a node write a new snapshot and switch to it
    Rebuild(Rebuild),
    /// Verifies, inspects or repairs a log on this machine; the node must not be running
    Log(Log),
    /// Copies the logs of a node into a directory, and goes on as they grow
    Backup(Backup),
    /// Makes the data-dir of a node out of a backup
    Restore(Restore),
    /// Measures how fast a node is
    Bench(Bench),
    /// Shows what Roster does, with a node and processes of its own
    Demo(Demo),
    /// A process of the demo
    #[command(hide = true)]
    DemoPart(DemoPart),
    /// Prints the completion script of a shell
    Completions(Completions),
}

fn after_help() -> String {
    format!(
        "\
Examples:
  roster serve --data-dir ./data
  roster register orders --address 127.0.0.1:8080 --version 2 -- ./orders --port 8080
  roster watch orders
  roster get orders --output json

`roster COMMAND --help` has examples of each command.

{}",
        exit::HELP
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_subcommand_and_exit_code_stands_in_the_page() {
        let page = include_str!("../../../docs/cli.md");
        for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let heading = format!("\n## roster {}\n", command.get_name());
            assert!(page.contains(&heading), "{heading:?} is not in docs/cli.md");
        }
        for line in exit::HELP.lines().skip(1).filter(|line| line.starts_with("  ") && !line.contains('`')) {
            let (code, meaning) = line.trim().split_once("  ").unwrap();
            assert!(page.contains(&format!("| {code} | {meaning}")), "{line:?} is not in docs/cli.md");
        }
    }

    #[test]
    fn every_subcommand_teaches_by_examples() {
        let mut left: Vec<clap::Command> = Arguments::command().get_subcommands().cloned().collect();
        while let Some(command) = left.pop() {
            if command.is_hide_set() {
                continue;
            }
            left.extend(command.get_subcommands().cloned());
            if command.has_subcommands() {
                continue;
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  roster "), "{} has no examples", command.get_name());
        }
    }
}
