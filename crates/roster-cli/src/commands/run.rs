//! From the command line to the subcommand that does it.

use anyhow::Context;

use super::{
    backup, bench, check, completions, cutover, demo, drain, get, guard, log, queue, rebuild, register, restore, serve,
    services, status, watch,
};
use crate::arguments::{Arguments, Command};
use crate::exit::Exit;
use crate::render::Screen;

/// # Errors
/// What the subcommand failed with; `exit::of` says which exit it asks for.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let Arguments { everywhere, command } = arguments;
    let screen = Screen::new(everywhere.output);
    let (given, nodes) = (everywhere.given(), everywhere.nodes());
    let (given, nodes) = (given.as_slice(), nodes.as_slice());
    match command {
        // A node has work for every core; a question to one has not.
        Command::Serve(serve) => serve::run(&serve),
        Command::Log(log) => log::run(&log, screen),
        Command::Backup(backup) => on_one_thread(backup::run(backup, nodes, screen)),
        Command::Restore(restore) => restore::run(&restore, screen),
        Command::Bench(bench) => bench::run(bench, given, screen),
        Command::Demo(demo) => demo::run(&demo, screen),
        Command::DemoPart(part) => demo::run_part(part, nodes),
        Command::Completions(completions) => completions::run(&completions),
        Command::Register(register) => on_one_thread(register::run(*register, nodes)),
        Command::Watch(watch) => on_one_thread(watch::run(watch, nodes, screen)),
        Command::Services(services) => on_one_thread(services::run(services, nodes, screen)),
        Command::Get(get) => on_one_thread(get::run(get, nodes, screen)),
        Command::Check(check) => on_one_thread(check::run(check, nodes, screen)),
        Command::Drain(drain) => on_one_thread(drain::run(drain, nodes, screen)),
        Command::Cutover(cutover) => on_one_thread(cutover::run(cutover, nodes, screen)),
        Command::Queue(queue) => on_one_thread(queue::run(queue, nodes, screen)),
        Command::Status(status) => on_one_thread(status::run(status, nodes, screen)),
        Command::Guard(guard) => on_one_thread(guard::run(guard, nodes, screen)),
        Command::Rebuild(rebuild) => on_one_thread(rebuild::run(rebuild, nodes, screen)),
    }
}

fn on_one_thread(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let ended = runtime.block_on(command);
    // A write to a pipe that nobody reads may never return; nobody waits for it.
    runtime.shutdown_background();
    ended
}
