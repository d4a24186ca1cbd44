//! Threads whose work nobody waits for: they write snapshots and free what was discarded.

/// How much less of a busy processor they get: about a third of what another thread gets.
const NICENESS: i32 = 5;

/// Lets the other threads of the node, which somebody waits for, go first. For this thread alone.
pub(crate) fn make_way() {
    // On Linux the calling thread's; elsewhere it may be the process's.
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::nice(NICENESS)
    {
        tracing::debug!(%error, "a thread in the background has the priority of all");
    }
}
