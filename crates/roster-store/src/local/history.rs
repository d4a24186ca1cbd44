//! History: superseded files are kept for a while, and then removed.

use std::io;

use roster_core::Timestamp;

use super::LocalLog;
use crate::codec::Codec;
use crate::error::{IoFailure, SweepError};
use crate::manifest::{Manifest, PastFile, ReplaceError};
use crate::ordered::Sweep;
use crate::settings::LogSettings;

impl<C: Codec> LocalLog<C> {
    /// Files first, then their directories, then the manifest: a crash between leaves a manifest that
    /// names files which are gone, never a file of the past that no manifest names.
    pub(super) fn sweep_history(&mut self, now: Timestamp) -> Result<Sweep, SweepError> {
        let Some(files) = &mut self.files else { return Ok(Sweep::default()) };
        let mut swept = Sweep::default();
        let mut failed = None;
        let expired = expired(&files.manifest.history, &self.settings, now);
        if self.failed.is_some() || !expired.contains(&true) {
            return Ok(swept);
        }
        let mut manifest = files.manifest.clone();
        let mut expired = expired.into_iter();
        manifest.history.retain(|file| {
            if expired.next() != Some(true) {
                return true;
            }
            let Some(path) = Manifest::path(&self.directories, file.side, &file.name) else { return true };
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    failed.get_or_insert(IoFailure::new("remove", &path, error));
                    true
                }
                Ok(()) | Err(_) => {
                    swept.bytes += file.bytes;
                    swept.files.push(path);
                    false
                }
            }
        });
        if swept.files.is_empty() {
            return failed.map_or(Ok(swept), |failure| Err(SweepError::Io(failure)));
        }
        for (_, dir) in self.directories.sides() {
            self.disk.sync_dir(dir).map_err(|source| SweepError::Io(IoFailure::new("sync", dir, source)))?;
        }
        match manifest.replace::<C>(&*self.disk, &self.directories) {
            Ok(()) => files.manifest = manifest,
            Err(ReplaceError::NotReplaced(failure)) => return Err(SweepError::Io(failure)),
            Err(ReplaceError::Unknown(failure)) => {
                self.fail(&failure);
                return Err(SweepError::Failed(failure));
            }
        }
        failed.map_or(Ok(swept), |failure| Err(SweepError::Io(failure)))
    }
}

/// Which of the files are to go: those that are old enough, and then the oldest until the rest is small enough.
fn expired(history: &[PastFile], settings: &LogSettings, now: Timestamp) -> Vec<bool> {
    let mut kept_bytes: u64 = history.iter().map(|file| file.bytes).sum();
    let oldest_first = history.iter().map(|file| {
        let age_millis = now.get().saturating_sub(file.superseded.get());
        let gone = u128::from(age_millis) >= settings.history.as_millis() || kept_bytes > settings.history_max;
        if gone {
            kept_bytes -= file.bytes;
        }
        gone
    });
    oldest_first.collect()
}
