//! Where the nodes of the demo keep their data, and what all processes have to say.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use crate::exit::{Ending, Exit};

/// A directory; a temporary one goes when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl Folder {
    /// # Errors
    /// When none can be made.
    pub(super) fn temporary() -> anyhow::Result<Self> {
        let made = tempfile::Builder::new().prefix("roster-demo-").tempdir();
        let temporary = made.context("make a temporary directory; --data-dir names another place")?;
        Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) })
    }

    /// One that stays. It must not hold anything: the demo counts what its node has.
    ///
    /// # Errors
    /// When it holds something, or cannot be made.
    pub(super) fn chosen(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
        let mut entries = fs::read_dir(&path).with_context(|| format!("read {}", path.display()))?;
        if entries.next().is_some() {
            let why = format!("{} is not empty; the demo begins with an empty registry", path.display());
            return Err(Ending::error(Exit::Usage, why));
        }
        Ok(Self { path, temporary: None })
    }

    /// The same, to stay.
    pub(super) fn kept(self) -> Self {
        Self { path: self.temporary.map_or(self.path, TempDir::keep), temporary: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The node's.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// That of a member with this number.
    pub(super) fn member_data(&self, number: usize) -> PathBuf {
        self.path.join("members").join(number.to_string())
    }

    /// What the processes say, each at the end of what is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn log(&self) -> anyhow::Result<File> {
        let path = self.log_path();
        OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("open {}", path.display()))
    }

    /// The last lines of that, as far as there are any.
    pub(super) fn last_words(&self, lines: usize) -> Vec<String> {
        let said = fs::read(self.log_path()).unwrap_or_default();
        let said: Vec<String> = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
        said[said.len().saturating_sub(lines)..].to_vec()
    }

    /// Removes it if it is temporary. Whether it is gone.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn clear(self) -> anyhow::Result<bool> {
        let Some(temporary) = self.temporary else { return Ok(false) };
        temporary.close().with_context(|| format!("remove {}", self.path.display()))?;
        Ok(true)
    }

    fn log_path(&self) -> PathBuf {
        self.path.join("processes.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_holds_something_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "").unwrap();
        assert!(Folder::chosen(folder.path()).unwrap_err().to_string().contains("not empty"));
    }

    #[test]
    fn a_temporary_directory_goes_and_a_chosen_one_stays() {
        let temporary = Folder::temporary().unwrap();
        let path = temporary.path().to_owned();
        assert!(path.is_dir());
        assert!(temporary.clear().unwrap());
        assert!(!path.exists());

        let around = tempfile::tempdir().unwrap();
        let chosen = Folder::chosen(&around.path().join("new")).unwrap();
        let path = chosen.path().to_owned();
        assert!(!chosen.clear().unwrap());
        assert!(path.is_dir());
    }
}
