//! One family: the series of one metric name, its limit and its overflow series, behind one lock.
#![forbid(unsafe_code)]

use std::sync::{Mutex, MutexGuard};

use indexmap::IndexMap;

use super::overflow::Overflow;
use super::points::Read;
use super::room::{Room, lock};
use super::series::{Exemplar, Kind, Point, Reason, Series, Step, reason};

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
        let id = room.stream_id(labels);
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
                room.exchange(series.point.value.lines(), point.value.lines())
                    .map_err(Refused::Because)?;
                let fresh = self.is_fresh(room, point.start_ns, now_ns);
                series.reset(point, room.next_birth(), fresh);
            }
        }
        series.ingested_ns = now_ns;
        series.stale = false;
        Ok(())
    }

    /// Adds a point to the overflow series, which is born where there is none.
    fn add_to_overflow(
        &self,
        state: &mut State,
        room: &Room,
        id: u64,
        point: Point,
        now_ns: u64,
    ) -> Result<(), Refused> {
        if self.kind == Kind::Gauge {
            return Err(Refused::Because(reason::SERIES_LIMIT));
        }
        let overflow = state.overflow.get_or_insert_with(|| {
            let birth = Point {
                start_ns: now_ns,
                time_ns: point.time_ns,
                value: point.value.zero(),
            };
            Overflow::new(self.birth(room, birth, now_ns))
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
            if overflow.streams() == 0 {
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
            room.give_back_streams(overflow.streams());
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
            .is_some_and(|overflow| overflow.holds(id));
        !overflowed
            && labels != room.overflow_labels
            && self.series.len() < room.max_series_per_metric
            && room.take_series(point.value.lines())
    }
}
