//! One family: the series of one metric name, the streams behind them, its limit and its overflow series, behind one
//! lock.
#![forbid(unsafe_code)]

use std::sync::{Mutex, MutexGuard};

use indexmap::IndexMap;

use super::points::Read;
use super::room::{Room, lock};
use super::series::{Change, Collected, Exemplar, Kind, Point, Reason, Series, reason};
use super::stream::{Last, Mode, Notes, OVERFLOW, Stream, StreamId, add, note};
use super::value::Value;
use crate::aggregate::hash::Seeded;

/// Where a point went, and what was noticed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub in_overflow: bool,
    pub notes: Notes,
}

/// Why `Family::update` took nothing.
pub enum Refused {
    /// Counted as dropped.
    Because(Reason),
    /// The family has just been removed: look it up again.
    Gone(Read),
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::Because(reason)
    }
}

pub struct Family {
    /// As in OpenMetrics: a counter without `_total`.
    pub name: String,
    pub kind: Kind,
    /// What a counter's samples have after the name: `_total`, or nothing.
    pub suffix: &'static str,
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
    pub overflow: Option<Series>,
    pub streams: IndexMap<StreamId, Stream, Seeded>,
    /// Places of streams behind series that add up, changed since they were written down last.
    pub changed: Vec<u32>,
    /// What expired since it was last collected.
    pub gone: Vec<Gone>,
    pub removed: bool,
}

/// A series that was collected, and then expired.
pub struct Gone {
    pub labels: Box<str>,
    pub point: Point,
    pub collected: Collected,
}

/// A data point on its way in.
pub struct Incoming {
    pub id: StreamId,
    pub mode: Mode,
    pub now_ns: u64,
}

impl Family {
    pub fn new(name: String, kind: Kind, suffix: &'static str, unit: String, help: String) -> Self {
        Self {
            name,
            kind,
            suffix,
            unit,
            help,
            state: Mutex::default(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes the next point of a stream. `labels` is asked for only where the stream is not known, `exemplars` only
    /// when the point is kept.
    pub fn update(
        &self,
        room: &Room,
        incoming: &Incoming,
        read: Read,
        labels: &mut impl FnMut() -> String,
        exemplars: impl FnOnce() -> Vec<Exemplar>,
    ) -> Result<Kept, Refused> {
        let mut state = self.lock();
        if state.removed {
            return Err(Refused::Gone(read));
        }
        let point = match read {
            Read::Point(point) => point,
            Read::NoValue { time_ns } => {
                state.hide(room, incoming.id, time_ns);
                return Ok(Kept::default());
            }
        };
        let (series, kept) = match state.streams.get_index_of(&incoming.id) {
            Some(at) => self.go_on(room, &mut state, at, point, incoming)?,
            None => self.begin(room, &mut state, labels(), point, incoming)?,
        };
        exemplars()
            .into_iter()
            .for_each(|exemplar| series.add_exemplar(exemplar));
        Ok(kept)
    }

    fn counts(&self) -> bool {
        !self.kind.is_gauge()
    }

    fn is_fresh(&self, room: &Room, start_ns: u64, now_ns: u64) -> bool {
        room.zero_first && self.counts() && room.is_fresh(start_ns, now_ns)
    }

    /// The next point of the stream at this place.
    fn go_on<'s>(
        &self,
        room: &Room,
        state: &'s mut State,
        at: usize,
        point: Point,
        incoming: &Incoming,
    ) -> Result<(&'s mut Series, Kept), Reason> {
        let stream = state.streams.get_index_mut(at);
        let (_, stream) = stream.ok_or(reason::STREAM_LIMIT)?;
        let series = place(&mut state.series, &mut state.overflow, stream.series);
        let series = series.ok_or(reason::SERIES_LIMIT)?;
        let kept = self.advance(room, stream, series, point, incoming)?;
        if !series.plain {
            note_change(room, &mut state.changed, at, stream);
        }
        Ok((series, kept))
    }

    fn advance(
        &self,
        room: &Room,
        stream: &mut Stream,
        series: &mut Series,
        point: Point,
        incoming: &Incoming,
    ) -> Result<Kept, Reason> {
        let in_overflow = stream.series == OVERFLOW;
        let (counts, now_ns) = (self.counts(), incoming.now_ns);
        let notes = if series.plain {
            stream.show(room, series, point, counts, now_ns, |start_ns| {
                self.is_fresh(room, start_ns, now_ns)
            })?
        } else {
            let lines = series.point.value.lines();
            let notes = stream.add(series, point, incoming.mode, counts, now_ns)?;
            if !in_overflow {
                room.resize(lines, series.point.value.lines());
            }
            notes
        };
        Ok(Kept { in_overflow, notes })
    }

    /// The first point of a stream.
    fn begin<'s>(
        &self,
        room: &Room,
        state: &'s mut State,
        labels: String,
        point: Point,
        incoming: &Incoming,
    ) -> Result<(&'s mut Series, Kept), Reason> {
        if let Some(index) = state.series.get_index_of(labels.as_str()) {
            return self.join(room, state, index as u32, point, incoming);
        }
        let has_room = labels != room.overflow_labels
            && state.series.len() < room.max_series_per_metric
            && room.take_series(point.value.lines());
        if !has_room {
            self.make_overflow(room, state, &point, incoming)?;
            return self.join(room, state, OVERFLOW, point, incoming);
        }
        let index = state.series.len() as u32;
        let mut stream = Stream::new(&point, index, incoming.now_ns);
        stream.leaves = !self.counts() && incoming.mode != Mode::Latest;
        if incoming.mode == Mode::Delta && stream.leaves {
            stream.keep(point.value.clone());
        }
        let known = room.take_stream(false);
        if known {
            let at = state.streams.len();
            note_change(room, &mut state.changed, at, &mut stream);
            state.streams.insert(incoming.id, stream);
        } else if incoming.mode == Mode::Cumulative {
            room.give_back(1, point.value.lines());
            return Err(reason::STREAM_LIMIT);
        }
        let series = self.birth(room, point, incoming);
        let series = state.series.entry(labels.into()).or_insert(series);
        let limit = (!known).then_some(note::STREAM_LIMIT);
        series.plain &= known;
        let kept = Kept {
            in_overflow: false,
            notes: [limit, None],
        };
        Ok((series, kept))
    }

    /// A series that begins with `point`. What deltas are added up to begins here, whatever their sender counted before.
    fn birth(&self, room: &Room, mut point: Point, incoming: &Incoming) -> Series {
        let (now_ns, is_delta) = (incoming.now_ns, incoming.mode == Mode::Delta);
        if is_delta {
            point.start_ns = match point.start_ns {
                0 => now_ns,
                known => known.max(room.epoch_ns()).min(now_ns),
            };
        }
        let fresh = self.is_fresh(room, point.start_ns, now_ns)
            || (is_delta && room.zero_first && self.counts());
        let mut series = Series::new(point, incoming.id, now_ns, room.next_birth(), fresh);
        series.plain = !is_delta;
        series
    }

    fn make_overflow(
        &self,
        room: &Room,
        state: &mut State,
        point: &Point,
        incoming: &Incoming,
    ) -> Result<(), Reason> {
        if !self.counts() {
            return Err(reason::SERIES_LIMIT);
        }
        state.overflow.get_or_insert_with(|| {
            let birth = Point {
                start_ns: incoming.now_ns,
                value: point.value.zero(),
                ..point.clone()
            };
            let fresh = self.is_fresh(room, incoming.now_ns, incoming.now_ns);
            let birth_order = room.next_birth();
            let mut series = Series::new(birth, incoming.id, incoming.now_ns, birth_order, fresh);
            series.plain = false;
            series
        });
        Ok(())
    }

    /// A stream begins in a series that is there: from now on the series adds up.
    fn join<'s>(
        &self,
        room: &Room,
        state: &'s mut State,
        at: u32,
        point: Point,
        incoming: &Incoming,
    ) -> Result<(&'s mut Series, Kept), Reason> {
        let State {
            series,
            overflow,
            streams,
            changed,
            ..
        } = state;
        let series = place(series, overflow, at).ok_or(reason::SERIES_LIMIT)?;
        let in_overflow = at == OVERFLOW;
        let known = room.take_stream(in_overflow);
        if !known && (in_overflow || incoming.mode == Mode::Cumulative) {
            return Err(match in_overflow {
                true => reason::OVERFLOW_FULL,
                false => reason::STREAM_LIMIT,
            });
        }
        if series.plain {
            series.sum_up();
            if let Some((at, _, owner)) = streams.get_full_mut(&series.owner) {
                owner.keep(series.point.value.clone());
                note_change(room, changed, at, owner);
            }
        }
        let (counts, now_ns, lines) = (self.counts(), incoming.now_ns, series.point.value.lines());
        let mut stream = Stream::new(&point, at, now_ns);
        stream.leaves = !counts && incoming.mode != Mode::Latest;
        let joined = stream.join(room, series, point, incoming.mode, counts, now_ns);
        if let Err(reason) = joined {
            room.give_back_streams(
                usize::from(known && in_overflow),
                usize::from(known && !in_overflow),
            );
            return Err(reason);
        }
        let mut notes = joined?;
        if !in_overflow {
            room.resize(lines, series.point.value.lines());
        }
        if known {
            note_change(room, changed, streams.len(), &mut stream);
            streams.insert(incoming.id, stream);
        } else {
            notes[0] = Some(note::STREAM_LIMIT);
        }
        Ok((series, Kept { in_overflow, notes }))
    }

    /// Removes what was not ingested for the expiration time; gives how many series went, and whether none is left.
    pub fn expire(&self, room: &Room, now_ns: u64) -> (usize, bool) {
        let mut state = self.lock();
        state.expire_streams(room, now_ns);
        let State {
            series,
            overflow,
            streams,
            gone: left,
            ..
        } = &mut *state;
        let before = series.len();
        let mut lines = 0;
        let mut places = Vec::with_capacity(before);
        let mut kept = 0u32;
        series.retain(|labels, series| {
            let expired = room.is_expired(series.ingested_ns, now_ns);
            if expired {
                left.extend(Gone::of(labels, series));
            }
            lines += usize::from(expired) * series.point.value.lines();
            places.push(kept);
            kept += u32::from(!expired);
            !expired
        });
        let gone = before - series.len();
        room.give_back(gone, lines);
        if gone > 0 {
            for stream in streams.values_mut() {
                if let Some(place) = places.get(stream.series as usize) {
                    stream.series = *place;
                }
            }
        }
        let ended = overflow.as_ref();
        if ended.is_some_and(|series| room.is_expired(series.ingested_ns, now_ns)) {
            let ended = overflow.take();
            left.extend(ended.and_then(|series| Gone::of(&room.overflow_labels, &series)));
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
        state.overflow = None;
        let overflow = state.streams.values().filter(|one| one.series == OVERFLOW);
        let overflow = overflow.count();
        room.give_back_streams(overflow, state.streams.len() - overflow);
        state.streams.clear();
        state.changed.clear();
        true
    }
}

/// Has a stream written down with the next changes. One behind a plain series is written as that series.
fn note_change(room: &Room, changed: &mut Vec<u32>, at: usize, stream: &mut Stream) {
    if room.kept && !stream.changed {
        stream.changed = true;
        changed.push(at as u32);
    }
}

pub fn place<'s>(
    series: &'s mut IndexMap<Box<str>, Series>,
    overflow: &'s mut Option<Series>,
    at: u32,
) -> Option<&'s mut Series> {
    match at {
        OVERFLOW => overflow.as_mut(),
        at => series.get_index_mut(at as usize).map(|(_, series)| series),
    }
}

impl Gone {
    /// None where nobody was told of the series, or where it is known to have no value.
    fn of(labels: &str, series: &Series) -> Option<Self> {
        let told = series.collected.time_ms != 0 && !series.collected.stale;
        told.then(|| Self {
            labels: labels.into(),
            point: series.point.clone(),
            collected: series.collected,
        })
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.series.is_empty() && self.overflow.is_none() && self.gone.is_empty()
    }

    /// The stream has no value at this time. What it counted stays; of a sum of last values its part goes.
    fn hide(&mut self, room: &Room, id: StreamId, time_ns: u64) {
        let Some((at, _, stream)) = self.streams.get_full_mut(&id) else {
            return;
        };
        let Some(series) = place(&mut self.series, &mut self.overflow, stream.series) else {
            return;
        };
        if time_ns <= stream.time_ns {
            return;
        }
        stream.time_ns = time_ns;
        if series.plain || (!stream.leaves && series.owner == id) {
            series.stale = true;
            series.change = Change::Whole;
            series.point.time_ns = series.point.time_ns.max(time_ns);
        } else if stream.leaves {
            leave(stream, series);
        }
        if !series.plain {
            note_change(room, &mut self.changed, at, stream);
        }
    }

    /// Forgets streams that are silent. Counters keep what they brought; sums of last values lose it.
    fn expire_streams(&mut self, room: &Room, now_ns: u64) {
        let (mut from_overflow, mut others) = (0, 0);
        let (series, overflow) = (&mut self.series, &mut self.overflow);
        self.streams.retain(|_, stream| {
            let expired = room.is_expired(stream.seen_ns, now_ns);
            if expired {
                from_overflow += usize::from(stream.series == OVERFLOW);
                others += usize::from(stream.series != OVERFLOW);
                match place(series, overflow, stream.series) {
                    Some(series) if stream.leaves && !series.plain => leave(stream, series),
                    _ => {}
                }
            }
            !expired
        });
        room.give_back_streams(from_overflow, others);
        if from_overflow + others > 0 {
            self.changed.clear();
            let streams = self.streams.values().enumerate();
            let changed = streams.filter(|(_, stream)| stream.changed);
            self.changed.extend(changed.map(|(at, _)| at as u32));
        }
    }
}

/// Takes back what the stream has in a sum of last values.
pub fn leave(stream: &mut Stream, series: &mut Series) {
    if let Last::Number(last) = stream.last {
        let _ = add(series, &Value::Number(-last));
        stream.last = Last::Number(0.0);
    }
}
