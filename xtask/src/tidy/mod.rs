//! `cargo xtask tidy`: the rules of the repository that a program can check, so that no reviewer has to.
//!
//! Every check is a function from the [`Tree`] (the texts of the repository, in memory) to findings;
//! none of them reads a file or the time, so a test hands it a few lines and looks at what it finds.
//! Only [`Tree::read`] and the comparison of the generated code touch the disk.

mod core_dependencies;
mod duplicates;
mod edges;
mod finding;
mod forbidden;
mod generated;
mod heads;
mod invariants;
mod layers;
mod lengths;
mod names;
mod paths;
mod rounds;
mod tree;

pub(crate) use rounds::run;
pub(crate) use tree::Tree;
