//! Room made in advance: zeros behind the last batch of the last segment, for the next batches to be written over.
//!
//! A sync of a file that has grown waits until the file system has written down where its new blocks are and how long
//! it is; over bytes that are there already it does not: half to two thirds of the time, and half to four fifths of the
//! processor time (docs/performance.md). So when the room is used up, zeros follow the batch in the same sync.
//!
//! # Always true
//! * **L11, room is no content**: behind the frames of a segment there is nothing or there are zeros, and only the last
//!   segment has any; nothing that is counted, copied or kept as history includes it.
//! * **L12, room costs nobody a batch**: where it cannot be made, the segment grows with each batch.

use std::io;

use super::{Files, LocalLog};
use crate::codec::Codec;
use crate::disk::{Disk, DiskFile, write_all_at};
use crate::limits::{AHEAD_BATCH_BYTES_MAX, AHEAD_FREE_TIMES, AHEAD_PART};
use crate::settings::{Durability, LogSettings};

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

impl Files {
    /// Makes room behind the batch that was just written and ends at `end`, when there is none. As much as the segment
    /// is long, so that a small log stays small.
    pub(super) fn make_room(&mut self, disk: &dyn Disk, settings: &LogSettings, end: u64) {
        let is_long = end - self.active_len > AHEAD_BATCH_BYTES_MAX as u64;
        if end < self.room_end || is_long || settings.durability != Durability::Synced {
            return;
        }
        let most = settings.ahead_max;
        let wanted = end.clamp(most / AHEAD_PART, most).min(settings.segment_max.saturating_sub(end));
        // Tried again only so much later, whatever becomes of it.
        self.room_end = end + wanted;
        if wanted > 0 && self.is_free(disk, wanted) && write_zeros(&*self.active, end, wanted).is_err() {
            // L12. If this fails too, what was written of it is a shorter room.
            let _ = self.active.truncate(end);
        }
    }

    fn is_free(&self, disk: &dyn Disk, wanted: u64) -> bool {
        let dir = self.active_path.parent();
        match dir.map(|dir| disk.free_bytes(dir)) {
            Some(Ok(Some(free))) => free / AHEAD_FREE_TIMES >= wanted,
            Some(Ok(None)) => true,
            Some(Err(_)) | None => false,
        }
    }

    /// Cuts the room off. Whether there was any.
    pub(super) fn give_room_back(&mut self) -> io::Result<bool> {
        if self.room_end <= self.active_len {
            return Ok(false);
        }
        self.active.truncate(self.active_len)?;
        self.room_end = 0;
        Ok(true)
    }
}

/// Of a process that was killed the next start finds the room, and cuts it off.
impl<C: Codec> Drop for LocalLog<C> {
    fn drop(&mut self) {
        if let (None, Some(files)) = (&self.failed, &mut self.files) {
            let _ = files.give_room_back();
        }
    }
}

fn write_zeros(file: &dyn DiskFile, mut at: u64, mut count: u64) -> io::Result<()> {
    while count > 0 {
        let piece = count.min(ZEROS.len() as u64);
        write_all_at(file, at, &ZEROS[..piece as usize])?;
        at += piece;
        count -= piece;
    }
    Ok(())
}
