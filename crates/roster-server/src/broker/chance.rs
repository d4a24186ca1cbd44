//! Chance for back-offs: taken from the node's entropy, many numbers at a time.

use std::sync::Arc;

use crate::clock::Entropy;

/// Numbers taken at a time.
const POOL_NUMBERS: usize = 256;

#[derive(Debug)]
pub(crate) struct Chance {
    entropy: Arc<dyn Entropy>,
    pool: Vec<u32>,
}

impl Chance {
    pub(crate) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, pool: Vec::new() }
    }

    pub(crate) fn next(&mut self) -> u32 {
        if self.pool.is_empty() {
            let mut bytes = [0; POOL_NUMBERS * 4];
            // Without entropy everything waits for the same part of its back-off, which is no reason to fail.
            let _ = self.entropy.fill(&mut bytes);
            self.pool.extend(bytes.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number)));
        }
        self.pool.pop().unwrap_or_default()
    }
}
