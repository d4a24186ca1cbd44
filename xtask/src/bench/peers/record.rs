//! A run as far as it has come, in a file: what fails or is ended is shown or gone on with later.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use super::samples::{Measured, Samples};
use super::workloads::{System, Workload};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Of what was measured.
    pub(super) commit: String,
    pub(super) rounds: u32,
    pub(super) before: Conditions,
    /// When it has come to its end.
    pub(super) after: Option<Conditions>,
    pub(super) versions: Vec<(String, String)>,
    /// Seconds of the last time, by workload and system.
    took: BTreeMap<String, f64>,
    /// What did not work, and why. Such a step is done again when the run is gone on with.
    pub(super) failures: Vec<String>,
    pub(super) samples: Samples,
}

impl Record {
    pub(super) fn new(commit: String, rounds: u32, before: Conditions, versions: Vec<(String, String)>) -> Self {
        Self {
            commit,
            rounds,
            before,
            after: None,
            versions,
            took: BTreeMap::new(),
            failures: Vec::new(),
            samples: Samples::default(),
        }
    }

    /// # Errors
    /// When there is none, or it is not one.
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
    }

    /// A run that is gone on with measures the same programs.
    ///
    /// # Errors
    /// When that is not so.
    pub(super) fn resume(path: &Path, commit: &str, rounds: u32) -> anyhow::Result<Self> {
        let mut record = Self::load(path)?;
        ensure!(record.commit == commit, "the run to go on with measured {}, and this is {commit}", record.commit);
        (record.rounds, record.after) = (rounds, None);
        record.failures.clear();
        Ok(record)
    }

    /// Whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let part = path.with_extension("part");
        let text = serde_json::to_string_pretty(self).context("write what was measured")?;
        fs::write(&part, text + "\n").with_context(|| format!("write {}", part.display()))?;
        fs::rename(&part, path).with_context(|| format!("write {}", path.display()))
    }

    pub(super) fn took(&self, workload: &Workload, system: System) -> Option<f64> {
        self.took.get(&step(workload, system)).copied()
    }

    pub(super) fn add(&mut self, workload: &Workload, system: System, measured: Measured, seconds: f64) {
        self.took.insert(step(workload, system), seconds);
        self.samples.add(workload, system, measured);
    }

    pub(super) fn has(&self, workload: &Workload, system: System, round: u32) -> bool {
        self.samples.rounds(workload, system) >= round as usize
    }
}

fn step(workload: &Workload, system: System) -> String {
    format!("{}: {}", workload.name(), system.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::workloads::Sizes;

    #[test]
    fn what_was_measured_is_not_measured_again_by_the_run_that_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let workloads = Workload::chosen(&Sizes::quick(), &["W1".to_owned()]).unwrap();
        let [workload] = workloads.as_slice() else { panic!("one workload") };
        let conditions = Conditions::look(folder.path()).unwrap();
        let mut record = Record::new("one".to_owned(), 2, conditions, Vec::new());
        let said = serde_json::json!({ "figures": { "per_second": 7.5 }, "latencies": [] });
        record.add(workload, System::Etcd, Measured::read(&said).unwrap(), 3.0);
        record.save(&path).unwrap();

        assert!(Record::resume(&path, "another", 2).is_err());
        let record = Record::resume(&path, "one", 2).unwrap();
        assert!(record.has(workload, System::Etcd, 1) && !record.has(workload, System::Etcd, 2));
        assert!(!record.has(workload, System::Roster, 1));
        assert_eq!(record.samples.values(workload, System::Etcd, "per_second"), Some(&[7.5][..]));
        assert_eq!(record.took(workload, System::Etcd), Some(3.0));
    }
}
