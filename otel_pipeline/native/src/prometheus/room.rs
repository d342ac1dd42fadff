//! What the families of a store share: limits, the room that is taken, the order of births.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::series::Reason;
use super::series::reason::SERIES_LIMIT;

/// A lock that a panic elsewhere does not close: every value behind one is whole after each statement.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is collected of a store, beside pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collects {
    Nothing,
    Cumulative,
    /// Of counters and histograms what they have gained.
    Delta,
}

/// What all families of a store share: limits, the clock of births, and how much room is taken.
pub struct Room {
    pub max_series_per_metric: usize,
    pub max_lines: usize,
    pub expiration_ns: u64,
    pub zero_first: bool,
    /// What was shown is kept for the next store: changes are noted, and a sender that begins anew is added up.
    pub kept: bool,
    pub collected: Collects,
    epoch_ns: AtomicU64,
    /// The labels of overflow series.
    pub overflow_labels: String,
    lines: AtomicUsize,
    series: AtomicUsize,
    overflow_streams: AtomicUsize,
    streams: AtomicUsize,
    max_streams: usize,
    births: AtomicU64,
}

impl Room {
    pub fn new(
        max_series_per_metric: usize,
        max_lines: usize,
        expiration_ns: u64,
        zero_first: bool,
        epoch_ns: u64,
        overflow_labels: String,
        max_streams: usize,
    ) -> Self {
        Self {
            max_series_per_metric,
            max_lines,
            expiration_ns,
            zero_first,
            kept: false,
            collected: Collects::Nothing,
            epoch_ns: AtomicU64::new(epoch_ns),
            overflow_labels,
            lines: AtomicUsize::new(0),
            series: AtomicUsize::new(0),
            overflow_streams: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            max_streams,
            births: AtomicU64::new(1),
        }
    }

    pub fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }

    pub fn series(&self) -> usize {
        self.series.load(Ordering::Relaxed)
    }

    pub fn overflow_streams(&self) -> usize {
        self.overflow_streams.load(Ordering::Relaxed)
    }

    /// When the store was made, or the first of those that it goes on from. What began earlier may have been shown by
    /// a store before it.
    pub fn epoch_ns(&self) -> u64 {
        self.epoch_ns.load(Ordering::Relaxed)
    }

    pub fn set_epoch_ns(&self, epoch_ns: u64) {
        self.epoch_ns.store(epoch_ns, Ordering::Relaxed);
    }

    /// All births from now on come after `born`.
    pub fn pass_birth(&self, born: u64) {
        let next = born.saturating_add(1);
        self.births.fetch_max(next, Ordering::Relaxed);
    }

    /// The next place in the order of births and of scrapers becoming known.
    pub fn next_birth(&self) -> u64 {
        self.births.fetch_add(1, Ordering::Relaxed)
    }

    /// True where nothing of a stream that began at `start_ns` can have been shown before: it began after this store
    /// did, and too recently to have been here, expired and been forgotten.
    pub fn is_fresh(&self, start_ns: u64, now_ns: u64) -> bool {
        let known = start_ns != 0 && start_ns >= self.epoch_ns();
        known && now_ns.saturating_sub(start_ns) <= self.expiration_ns
    }

    /// Takes the room of a series; false, and nothing taken, where it is not there.
    pub fn take_series(&self, lines: usize) -> bool {
        let taken = take(&self.lines, lines, self.max_lines);
        self.series.fetch_add(usize::from(taken), Ordering::Relaxed);
        taken
    }

    pub fn give_back(&self, series: usize, lines: usize) {
        self.series.fetch_sub(series, Ordering::Relaxed);
        self.lines.fetch_sub(lines, Ordering::Relaxed);
    }

    /// Takes the room of a stream, behind an overflow series or any other.
    pub fn take_stream(&self, overflow: bool) -> bool {
        if overflow {
            take(&self.overflow_streams, 1, self.max_lines)
        } else {
            take(&self.streams, 1, self.max_streams)
        }
    }

    pub fn give_back_streams(&self, overflow: usize, others: usize) {
        self.overflow_streams.fetch_sub(overflow, Ordering::Relaxed);
        self.streams.fetch_sub(others, Ordering::Relaxed);
    }

    /// Streams that are known, those behind overflow series included.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed) + self.overflow_streams()
    }

    /// Makes room for a series whose buckets changed.
    pub fn exchange(&self, before: usize, after: usize) -> Result<(), Reason> {
        if !take(&self.lines, after.saturating_sub(before), self.max_lines) {
            return Err(SERIES_LIMIT);
        }
        self.give_back(0, before.saturating_sub(after));
        Ok(())
    }

    /// Notes that what was added up needs more or fewer lines, be there room or not.
    pub fn resize(&self, before: usize, after: usize) {
        if after > before {
            self.lines.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.give_back(0, before - after);
        }
    }

    pub fn is_expired(&self, ingested_ns: u64, now_ns: u64) -> bool {
        now_ns.saturating_sub(ingested_ns) > self.expiration_ns
    }
}

/// Takes `amount` of what is left below `limit`; false, and nothing taken, where it is not there.
fn take(counter: &AtomicUsize, amount: usize, limit: usize) -> bool {
    let fits = |taken: usize| taken.checked_add(amount).filter(|sum| *sum <= limit);
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
        .is_ok()
}
