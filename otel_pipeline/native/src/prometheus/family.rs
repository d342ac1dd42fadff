//! One family: the series of one metric name, its limit and its overflow series, behind one lock.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;

use super::points::Read;
use super::series::{Exemplar, Kind, Point, Reason, Series, Step, reason};

pub const OVERFLOW_FULL: Reason = "overflow_full";
pub const SERIES_LIMIT: Reason = "series_limit";
/// Spelled as OpenTelemetry's `otel.metric.overflow=true`.
pub const OVERFLOW_LABEL: (&str, &str) = ("otel_metric_overflow", "true");

/// A lock that a panic elsewhere does not close: every value behind one is whole after each statement.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all families of a store share: limits, the clock of births, and how much room is taken.
pub struct Room {
    pub max_series_per_metric: usize,
    pub max_lines: usize,
    pub expiration_ns: u64,
    pub zero_first: bool,
    /// When the store was made. What began earlier may have been shown by a store before it.
    pub epoch_ns: u64,
    /// The labels of overflow series.
    pub overflow_labels: String,
    lines: AtomicUsize,
    series: AtomicUsize,
    overflow_streams: AtomicUsize,
    births: AtomicU64,
    hasher: RandomState,
}

impl Room {
    pub fn new(
        max_series_per_metric: usize,
        max_lines: usize,
        expiration_ns: u64,
        zero_first: bool,
        epoch_ns: u64,
        overflow_labels: String,
    ) -> Self {
        Self {
            max_series_per_metric,
            max_lines,
            expiration_ns,
            zero_first,
            epoch_ns,
            overflow_labels,
            lines: AtomicUsize::new(0),
            series: AtomicUsize::new(0),
            overflow_streams: AtomicUsize::new(0),
            births: AtomicU64::new(1),
            hasher: RandomState::new(),
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

    /// The next place in the order of births and of scrapers becoming known.
    pub fn next_birth(&self) -> u64 {
        self.births.fetch_add(1, Ordering::Relaxed)
    }

    /// True where nothing of a stream that began at `start_ns` can have been shown before: it began after this store
    /// did, and too recently to have been here, expired and been forgotten.
    fn is_fresh(&self, start_ns: u64, now_ns: u64) -> bool {
        let known = start_ns != 0 && start_ns >= self.epoch_ns;
        known && now_ns.saturating_sub(start_ns) <= self.expiration_ns
    }

    fn take_series(&self, lines: usize) -> bool {
        let taken = take(&self.lines, lines, self.max_lines);
        self.series.fetch_add(usize::from(taken), Ordering::Relaxed);
        taken
    }

    fn give_back(&self, series: usize, lines: usize) {
        self.series.fetch_sub(series, Ordering::Relaxed);
        self.lines.fetch_sub(lines, Ordering::Relaxed);
    }

    /// Makes room for a series whose buckets changed.
    fn exchange(&self, before: usize, after: usize) -> Result<(), Refused> {
        if !take(&self.lines, after.saturating_sub(before), self.max_lines) {
            return Err(Refused::Because(SERIES_LIMIT));
        }
        self.give_back(0, before.saturating_sub(after));
        Ok(())
    }

    fn is_expired(&self, ingested_ns: u64, now_ns: u64) -> bool {
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

/// Where a point went.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    InSeries,
    InOverflow,
}

/// Why `Family::update` took nothing.
pub enum Refused {
    /// Counted as dropped.
    Because(Reason),
    /// The family has just been removed: look it up again.
    Gone(Read),
}

pub struct Family {
    /// As in OpenMetrics: a counter without `_total`.
    pub name: String,
    pub kind: Kind,
    /// Empty where there is no UNIT line.
    pub unit: String,
    pub help: String,
    state: Mutex<State>,
}

/// What a family holds.
#[derive(Default)]
pub struct State {
    /// By the text of the labels.
    pub series: IndexMap<Box<str>, Series>,
    pub overflow: Option<Overflow>,
    removed: bool,
}

/// The series that takes what the limits turn away. It sums cumulative streams, so the last point of each is kept.
pub struct Overflow {
    pub series: Series,
    streams: HashMap<u64, Stream>,
}

struct Stream {
    point: Point,
    ingested_ns: u64,
}

impl Family {
    pub fn new(name: String, kind: Kind, unit: String, help: String) -> Self {
        Self {
            name,
            kind,
            unit,
            help,
            state: Mutex::default(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes the latest point of the series with these labels. `exemplars` is asked for only when the point is kept.
    pub fn update(
        &self,
        room: &Room,
        labels: &str,
        read: Read,
        now_ns: u64,
        exemplars: impl FnOnce() -> Vec<Exemplar>,
    ) -> Result<Kept, Refused> {
        let mut state = self.lock();
        if state.removed {
            return Err(Refused::Gone(read));
        }
        let point = match read {
            Read::Point(point) => point,
            Read::NoValue { time_ns } => {
                state.mark_stale(labels, time_ns);
                return Ok(Kept::InSeries);
            }
        };
        if let Some(series) = state.series.get_mut(labels) {
            self.advance(room, series, point, now_ns)?;
            exemplars()
                .into_iter()
                .for_each(|exemplar| series.add_exemplar(exemplar));
            return Ok(Kept::InSeries);
        }
        let id = room.hasher.hash_one(labels);
        if state.has_room_for(room, labels, id, &point) {
            let mut series = self.birth(room, point, now_ns);
            exemplars()
                .into_iter()
                .for_each(|exemplar| series.add_exemplar(exemplar));
            state.series.insert(labels.into(), series);
            return Ok(Kept::InSeries);
        }
        self.add_to_overflow(&mut state, room, id, point, now_ns)?;
        Ok(Kept::InOverflow)
    }

    fn birth(&self, room: &Room, point: Point, now_ns: u64) -> Series {
        let fresh = self.is_fresh(room, point.start_ns, now_ns);
        Series::new(point, now_ns, room.next_birth(), fresh)
    }

    fn is_fresh(&self, room: &Room, start_ns: u64, now_ns: u64) -> bool {
        room.zero_first && self.kind != Kind::Gauge && room.is_fresh(start_ns, now_ns)
    }

    fn advance(
        &self,
        room: &Room,
        series: &mut Series,
        point: Point,
        now_ns: u64,
    ) -> Result<(), Refused> {
        match series
            .point
            .follow(&point, self.kind)
            .map_err(Refused::Because)?
        {
            Step::Continues => series.point.replace(point),
            Step::Resets => {
                room.exchange(series.point.value.lines(), point.value.lines())?;
                let fresh = self.is_fresh(room, point.start_ns, now_ns);
                series.reset(point, room.next_birth(), fresh);
            }
        }
        series.ingested_ns = now_ns;
        series.stale = false;
        Ok(())
    }

    /// Adds what a stream has gained to the overflow series.
    ///
    /// A fresh stream brings all it has counted. One that began before this store, or that may have been here and
    /// expired, brings only what it gains from now on: the rest has been counted where it was shown.
    fn add_to_overflow(
        &self,
        state: &mut State,
        room: &Room,
        id: u64,
        point: Point,
        now_ns: u64,
    ) -> Result<(), Refused> {
        if self.kind == Kind::Gauge {
            return Err(Refused::Because(SERIES_LIMIT));
        }
        let overflow = state.overflow.get_or_insert_with(|| {
            let birth = Point {
                start_ns: now_ns,
                time_ns: point.time_ns,
                value: point.value.zero(),
            };
            Overflow {
                series: self.birth(room, birth, now_ns),
                streams: HashMap::new(),
            }
        });
        overflow
            .add(room, id, point, now_ns, self.kind)
            .map_err(Refused::Because)
    }

    /// Removes what was not ingested for the expiration time; gives how many series went, and whether none is left.
    pub fn expire(&self, room: &Room, now_ns: u64) -> (usize, bool) {
        let mut state = self.lock();
        let before = state.series.len();
        let mut lines = 0;
        state.series.retain(|_, series| {
            let expired = room.is_expired(series.ingested_ns, now_ns);
            lines += usize::from(expired) * series.point.value.lines();
            !expired
        });
        let gone = before - state.series.len();
        room.give_back(gone, lines);
        if let Some(overflow) = &mut state.overflow {
            overflow.expire(room, now_ns);
            if overflow.streams.is_empty() {
                state.overflow = None;
            }
        }
        (gone, state.is_empty())
    }

    /// Takes the family out of use, with all it holds; with `only_empty`, only where it holds nothing. True where done.
    pub fn remove(&self, room: &Room, only_empty: bool) -> bool {
        let mut state = self.lock();
        if only_empty && !state.is_empty() {
            return false;
        }
        state.removed = true;
        let lines = state.series.values().map(|s| s.point.value.lines()).sum();
        room.give_back(state.series.len(), lines);
        state.series.clear();
        if let Some(overflow) = state.overflow.take() {
            room.overflow_streams
                .fetch_sub(overflow.streams.len(), Ordering::Relaxed);
        }
        true
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.series.is_empty() && self.overflow.is_none()
    }

    fn mark_stale(&mut self, labels: &str, time_ns: u64) {
        let newer = |series: &&mut Series| time_ns > series.point.time_ns;
        if let Some(series) = self.series.get_mut(labels).filter(newer) {
            series.stale = true;
            series.point.time_ns = time_ns;
        }
    }

    /// Takes the room for a new series. A stream that is being summed in the overflow series stays there, and so does
    /// one that a sender itself labelled as overflow.
    fn has_room_for(&self, room: &Room, labels: &str, id: u64, point: &Point) -> bool {
        let overflowed = self
            .overflow
            .as_ref()
            .is_some_and(|overflow| overflow.streams.contains_key(&id));
        !overflowed
            && labels != room.overflow_labels
            && self.series.len() < room.max_series_per_metric
            && room.take_series(point.value.lines())
    }
}

impl Overflow {
    fn add(
        &mut self,
        room: &Room,
        id: u64,
        point: Point,
        now_ns: u64,
        kind: Kind,
    ) -> Result<(), Reason> {
        if !point.value.same_bounds(&self.series.point.value) {
            return Err(reason::BOUNDS_CHANGED);
        }
        let total = &mut self.series.point;
        let time_ns = total.time_ns.max(point.time_ns);
        if let Some(stream) = self.streams.get_mut(&id) {
            let last = match stream.point.follow(&point, kind)? {
                Step::Continues => Some(&stream.point.value),
                Step::Resets => None,
            };
            total.value.add_gain(&point.value, last);
            stream.point.replace(point);
            stream.ingested_ns = now_ns;
        } else {
            if !take(&room.overflow_streams, 1, room.max_lines) {
                return Err(OVERFLOW_FULL);
            }
            if room.is_fresh(point.start_ns, now_ns) {
                total.value.add_gain(&point.value, None);
            }
            let stream = Stream {
                point,
                ingested_ns: now_ns,
            };
            self.streams.insert(id, stream);
        }
        total.time_ns = time_ns;
        self.series.ingested_ns = now_ns;
        Ok(())
    }

    fn expire(&mut self, room: &Room, now_ns: u64) {
        let before = self.streams.len();
        self.streams
            .retain(|_, stream| !room.is_expired(stream.ingested_ns, now_ns));
        room.overflow_streams
            .fetch_sub(before - self.streams.len(), Ordering::Relaxed);
    }
}
