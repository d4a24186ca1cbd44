//! What may be on its way to a log, and what may wait until it may: in bytes, of all streams and calls together.
//!
//! What is under way stands in front of everything that comes later, so that it bounds how long the small wait
//! while others send as much as they can. How much that may be follows from how long it takes: as what comes back
//! was under way for longer than [`LONG`], less is let in. What waits was read and is in memory: who would wait
//! beyond its bound is refused, and tries again later. Who waits for room in a queue may do so for as long as its
//! consumers are away: such waits have a part of the bound, and each queue a part of that, so that those who only wait
//! for the log, and those of other queues, find a place whatever queue is full.
//!
//! The small have a lane of their own, and so do not wait behind the large: with one lane, a single change stood in a
//! line with messages of a thousand operations from everybody else, and a session that changes something twenty times
//! a second fell behind by seconds (docs/performance.md, "Too much work"). A lone command (a session that returns or
//! says goodbye, a word of an operator) waits behind nobody, or whoever returns in time would be lost.
//!
//! # Always true
//! * **N4, as much as there is**: what is under way and what waits are never more than their bounds, where one counts as
//!   what its lane lets in at least, if it is larger: of the large, an eighth. So eight of the largest may be under way.
//! * **N5, room for others**: what waits for room in queues takes at most half of what may wait, and what waits for one
//!   queue at most half of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are counted in units of this size; the smallest submission is one unit.
const UNIT_BYTES: usize = 1024;
/// What is no larger takes the lane of the small.
const SMALL_BYTES: usize = 16 * 1024;
/// Of the bounds, the part of the small.
const SMALL_PART: usize = 8;
/// The least part of the lane of the large that is open, however long it takes.
const LEAST_PART: usize = 8;
/// What is under way for longer is too much at a time; it includes the wait for a sync.
const LONG: Duration = Duration::from_millis(25);
/// Of the place of each that took long, such a part closes …
const CLOSING_PART: usize = 4;
/// … and of the place of each other one, such a part opens.
const OPENING_PART: usize = 8;

/// Of what may wait, the part that may wait for room in queues …
const ROOM_PART: usize = 2;
/// … and the part that may wait for room in one of them.
const QUEUE_PART: usize = 4;

/// Lone commands under way at a time; each takes no more than a unit.
const LONE_MAX: usize = 1024;

/// The budget of one log.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    small: Lane,
    large: Lane,
    lone: Arc<Gate>,
    refused: AtomicU64,
}

/// A place under way, or to wait in; given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    place: OwnedSemaphorePermit,
    /// Where the bound follows from how long it takes.
    entered: Option<(Arc<Gate>, Instant)>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((gate, since)) = self.entered.take() {
            gate.move_after(&mut self.place, since.elapsed());
        }
    }
}

/// What waits for room in one queue, of each lane, in units.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    small: AtomicUsize,
    large: AtomicUsize,
}

/// A place to wait for room in; given back when dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    _places: [Ticket; 2],
    crowd: Arc<Crowd>,
    of: fn(&Crowd) -> &AtomicUsize,
    units: usize,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        (self.of)(&self.crowd).fetch_sub(self.units, Ordering::AcqRel);
    }
}

/// What has as much as may wait of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// All together.
    All,
    /// What waits for room in any queue.
    Queues,
    /// What waits for room in this one.
    Queue,
}

#[derive(Debug)]
struct Lane {
    under_way: Arc<Gate>,
    waiting: Arc<Gate>,
    /// What of the waiting waits for room in queues.
    for_room: Arc<Gate>,
    /// What of it waits for one queue, at most.
    for_queue: usize,
}

impl Lane {
    fn new(under_way: Gate, waiting: usize) -> Self {
        let part = |part: usize| (waiting / part).max(1);
        let gate = |units| Arc::new(Gate::fixed(units));
        let (for_room, for_queue) = (gate(part(ROOM_PART)), part(QUEUE_PART));
        Self { under_way: Arc::new(under_way), waiting: gate(waiting), for_room, for_queue }
    }

    fn wait_for_room(
        &self,
        crowd: &Arc<Crowd>,
        of: fn(&Crowd) -> &AtomicUsize,
        bytes: usize,
    ) -> Result<Waiting, Crowded> {
        let units = units_in(bytes).min(self.for_queue);
        let more = |there: usize| (there + units <= self.for_queue).then_some(there + units);
        of(crowd).fetch_update(Ordering::AcqRel, Ordering::Acquire, more).map_err(|_| Crowded::Queue)?;
        let places = || {
            let for_room = self.for_room.try_take(bytes).ok_or(Crowded::Queues)?;
            Ok([for_room, self.waiting.try_take(bytes).ok_or(Crowded::All)?])
        };
        match places() {
            Ok(places) => Ok(Waiting { _places: places, crowd: crowd.clone(), of, units }),
            Err(crowded) => {
                of(crowd).fetch_sub(units, Ordering::AcqRel);
                Err(crowded)
            }
        }
    }
}

/// A bound in units. Between the least and the most it moves by how long it takes what was let in.
#[derive(Debug)]
struct Gate {
    least: usize,
    most: usize,
    open: AtomicUsize,
    left: Arc<Semaphore>,
}

impl Gate {
    fn fixed(units: usize) -> Self {
        Self::moving(units, units)
    }

    /// Open as far as it may be.
    fn moving(least: usize, most: usize) -> Self {
        Self { least, most, open: AtomicUsize::new(most), left: Arc::new(Semaphore::new(most)) }
    }

    /// Whoever waits must be let in at some time, however little is open then.
    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(units_in(bytes).min(self.least)).unwrap_or(u32::MAX)
    }

    fn ticket(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Ticket {
        let moves = self.least < self.most;
        Ticket { place, entered: moves.then(|| (self.clone(), Instant::now())) }
    }

    fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Ticket> {
        let place = self.left.clone().try_acquire_many_owned(self.units_of(bytes));
        place.ok().map(|place| self.ticket(place))
    }

    /// Who waits longest is next.
    async fn take(self: &Arc<Self>, bytes: usize) -> Option<Ticket> {
        let place = self.left.clone().acquire_many_owned(self.units_of(bytes)).await;
        place.ok().map(|place| self.ticket(place))
    }

    /// What this place was taken for is done.
    fn move_after(&self, place: &mut OwnedSemaphorePermit, took: Duration) {
        let units = place.num_permits();
        if took > LONG {
            let closing = units / CLOSING_PART;
            let narrower = |open: usize| Some(open.saturating_sub(closing).max(self.least));
            if let Ok(open) = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, narrower) {
                let closed = open - narrower(open).unwrap_or(open);
                if let Some(closed) = place.split(closed) {
                    closed.forget();
                }
            }
        } else {
            let opening = units / OPENING_PART;
            let wider = |open: usize| Some((open + opening).min(self.most));
            if let Ok(open) = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, wider) {
                self.left.add_permits(wider(open).unwrap_or(open) - open);
            }
        }
    }

    fn used_bytes(&self) -> u64 {
        let left = self.left.available_permits();
        (self.open.load(Ordering::Acquire).saturating_sub(left) * UNIT_BYTES) as u64
    }
}

fn units_in(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES).clamp(1, (u32::MAX as usize).min(Semaphore::MAX_PERMITS))
}

/// What is kept of a bound for the small, and what is left.
fn parted(bytes: usize) -> (usize, usize) {
    let small = units_in(bytes / SMALL_PART);
    (small, units_in(bytes).saturating_sub(small).max(1))
}

impl Budget {
    /// So many bytes may be under way, and so many wait.
    pub(crate) fn new(under_way: usize, waiting: usize) -> Self {
        let ((small, large), (small_waiting, large_waiting)) = (parted(under_way), parted(waiting));
        Self(Arc::new(Inner {
            small: Lane::new(Gate::fixed(small), small_waiting),
            large: Lane::new(Gate::moving(large.div_ceil(LEAST_PART), large), large_waiting),
            lone: Arc::new(Gate::fixed(LONE_MAX)),
            refused: AtomicU64::new(0),
        }))
    }

    fn lane(&self, bytes: usize) -> &Lane {
        if bytes <= SMALL_BYTES { &self.0.small } else { &self.0.large }
    }

    /// How many submissions can be under way at most.
    pub(crate) fn submissions_max(&self) -> usize {
        self.0.small.under_way.most + self.0.large.under_way.most + LONE_MAX
    }

    /// A place for one command that comes alone.
    pub(crate) async fn enter_alone(&self) -> Option<Ticket> {
        self.0.lone.take(1).await
    }

    /// So many more bytes under way, when they may be at once.
    pub(crate) fn try_enter(&self, bytes: usize) -> Option<Ticket> {
        // The small take what the large have left as well.
        self.lane(bytes).under_way.try_take(bytes).or_else(|| self.0.large.under_way.try_take(bytes))
    }

    /// Waits until so many more bytes may be under way; of as large ones, who waits longest is next.
    pub(crate) async fn enter(&self, bytes: usize) -> Option<Ticket> {
        self.lane(bytes).under_way.take(bytes).await
    }

    /// A place to wait for the log in with so many bytes; nothing when too much waits, and that is counted.
    pub(crate) fn wait(&self, bytes: usize) -> Option<Ticket> {
        let ticket = self.lane(bytes).waiting.try_take(bytes);
        if ticket.is_none() {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
        }
        ticket
    }

    /// A place to wait in for room in a queue, and then for the log.
    ///
    /// # Errors
    /// When too much waits: in all, for queues, or for this one. That is counted.
    pub(crate) fn wait_for_room(&self, crowd: &Arc<Crowd>, bytes: usize) -> Result<Waiting, Crowded> {
        let of: fn(&Crowd) -> &AtomicUsize =
            if bytes <= SMALL_BYTES { |crowd| &crowd.small } else { |crowd| &crowd.large };
        let waiting = self.lane(bytes).wait_for_room(crowd, of, bytes);
        if waiting.is_err() {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
        }
        waiting
    }

    /// The bound that was met with so many bytes, in bytes.
    pub(crate) fn bound(&self, bytes: usize, crowded: Crowded) -> u64 {
        let lane = self.lane(bytes);
        let units = match crowded {
            Crowded::All => lane.waiting.most,
            Crowded::Queues => lane.for_room.most,
            Crowded::Queue => lane.for_queue,
        };
        (units * UNIT_BYTES) as u64
    }

    pub(crate) fn under_way_bytes(&self) -> u64 {
        self.0.small.under_way.used_bytes() + self.0.large.under_way.used_bytes()
    }

    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.0.small.waiting.used_bytes() + self.0.large.waiting.used_bytes()
    }

    /// How many were refused because too much waits.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    const KIB: usize = 1024;
    const LARGE: usize = SMALL_BYTES + 1;

    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Takes all that is open for the large.
    fn fill(budget: &Budget) -> Vec<Ticket> {
        std::iter::from_fn(|| budget.try_enter(LARGE)).collect()
    }

    #[tokio::test]
    async fn a_lone_command_does_not_wait_behind_what_waits() {
        let budget = Budget::new(KIB, 2 * KIB);
        let _entered = (budget.enter(1).await.unwrap(), budget.enter(LARGE).await.unwrap());
        assert!(poll(budget.enter(1)).is_pending());
        assert!(poll(budget.enter_alone()).is_ready(), "it waits");
    }

    #[tokio::test]
    async fn the_small_do_not_wait_behind_the_large() {
        let budget = Budget::new(1024 * KIB, 1024 * KIB);
        let large = fill(&budget);
        let mut waits = std::pin::pin!(budget.enter(LARGE));
        assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let small: Vec<_> = std::iter::from_fn(|| budget.try_enter(SMALL_BYTES)).collect();
        assert_eq!(small.len(), 1024 / SMALL_PART / 16, "they have a part of their own, and that is bounded");
        drop((small, large));
        assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn what_waits_is_bounded_and_who_would_wait_beyond_it_is_refused() {
        let budget = Budget::new(1024 * KIB, 64 * KIB);
        let under_way = fill(&budget);
        assert!(budget.under_way_bytes() <= 1024 * KIB as u64, "N4: {}", budget.under_way_bytes());
        let waiting = budget.wait(40 * KIB).unwrap();
        assert!(budget.wait(LARGE).is_none(), "N4");
        assert!(budget.wait(1).is_some(), "the small have a part of it as well");
        assert_eq!((budget.waiting_bytes(), budget.refused()), (40 * KIB as u64, 1));
        drop((under_way, waiting));
        assert_eq!((budget.under_way_bytes(), budget.waiting_bytes()), (0, 0));
        assert!(budget.try_enter(100 * 1024 * KIB).is_some(), "what is larger than all goes as well");
    }

    #[test]
    fn a_full_queue_takes_the_places_of_no_other_and_full_queues_not_those_of_the_log() {
        let budget = Budget::new(1024 * KIB, 1024 * KIB);
        let crowds: [Arc<Crowd>; 3] = Default::default();
        let fill = |crowd: &Arc<Crowd>| {
            let mut waiting = Vec::new();
            loop {
                match budget.wait_for_room(crowd, 32 * KIB) {
                    Ok(place) => waiting.push(place),
                    Err(crowded) => return (waiting, crowded),
                }
            }
        };
        let large = 1024 * KIB / SMALL_PART * (SMALL_PART - 1);
        let (first, crowded) = fill(&crowds[0]);
        assert_eq!((first.len() * 32 * KIB, crowded), (large / QUEUE_PART, Crowded::Queue), "N5");
        let (second, _) = fill(&crowds[1]);
        assert_eq!(second.len(), first.len(), "N5: another queue has as much");
        let (third, crowded) = fill(&crowds[2]);
        assert_eq!((third.len(), crowded), (0, Crowded::Queues), "N5: and all of them half");
        assert!(budget.wait_for_room(&crowds[2], KIB).is_ok(), "the small have a part of it as well");
        let log: Vec<_> = std::iter::from_fn(|| budget.wait(32 * KIB)).collect();
        assert_eq!(log.len() * 32 * KIB, large / ROOM_PART, "N5");
        assert_eq!(budget.waiting_bytes(), large as u64, "N4");
        drop((first, log));
        assert_eq!(fill(&crowds[2]).0.len(), second.len(), "what was given back is there for others");
        drop(second);
        assert_eq!(budget.waiting_bytes(), 0);
        assert!(budget.wait_for_room(&crowds[0], 1024 * KIB).is_ok(), "what is larger than all waits as well");
    }

    #[tokio::test]
    async fn the_longer_it_takes_the_less_is_let_in() {
        let gate = Arc::new(Gate::moving(100, 400));
        let back = |took: Duration| {
            let mut place = gate.left.clone().try_acquire_many_owned(80).unwrap();
            gate.move_after(&mut place, took);
        };
        back(LONG);
        assert_eq!(gate.left.available_permits(), 400, "N4: the most");
        back(LONG * 2);
        assert_eq!(gate.left.available_permits(), 380);
        (0..40).for_each(|_| back(LONG * 2));
        assert_eq!((gate.left.available_permits(), gate.used_bytes()), (100, 0), "the least is always open");
        (0..3).for_each(|_| back(LONG));
        assert_eq!(gate.left.available_permits(), 130);
        let larger = gate.try_take(1_000 * UNIT_BYTES);
        assert_eq!(gate.used_bytes(), 100 * UNIT_BYTES as u64, "what is larger than that goes as well");
        drop(larger);
        (0..40).for_each(|_| back(LONG));
        assert_eq!(gate.left.available_permits(), 400, "N4: the most");
    }
}
