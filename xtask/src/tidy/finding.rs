//! What a check finds: where, what, and how to mend it, on one line.

use std::fmt;

/// One breach of a rule. Prints as `path:line: what: how to mend`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
    mend: String,
}

impl Finding {
    /// `line` counts from 1; what concerns the whole file stands at its first line.
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { path: path.into(), line, what: what.into(), mend: mend.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.what, self.mend)
    }
}
