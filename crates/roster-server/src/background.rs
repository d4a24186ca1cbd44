//! Threads whose work nobody waits for: they write snapshots and free what was discarded. They must not take a
//! core from those who wait for an answer.

/// How much such a thread gives way, from 0 to 19: it gets about a tenth of what another thread gets that wants
/// the same core, and all of a core that nobody else wants.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lets the other threads go first. Where a thread has no priority of its own, nothing changes.
pub(crate) fn make_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread in the background has the priority of all");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_that_makes_way_is_nicer() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let inside = std::thread::spawn(move || {
            make_way();
            nice()
        });
        assert_eq!((inside.join().unwrap(), nice()), (before.max(NICENESS), before));
    }
}
