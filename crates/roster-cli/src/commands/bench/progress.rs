//! How far a benchmark is, on standard error where a person sees it.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that is not drawn when standard error is no terminal.
pub(super) fn bar(what: &'static str, steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
