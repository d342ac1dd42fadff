//! A stream: what one sender says of one metric with all attributes. Its points become increments of a series.
//! Source: OTLP data model, "Metrics Data Model: Stream identity, Temporality, Resets and Gaps, Overlap".
#![forbid(unsafe_code)]

use super::room::Room;
use super::series::{Change, Point, Reason, Series, Step, follow, reason};
use super::value::{Added, Value};

/// Hash of metric, attributes, scope and resource.
pub type StreamId = u128;

/// How the points of a stream are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A gauge: the latest value is the value.
    Latest,
    Cumulative,
    Delta,
}

/// Worth counting, though the point was taken.
pub mod note {
    use super::Reason;

    pub const BUCKETS_MERGED: Reason = "buckets_merged";
    pub const GAP: Reason = "gap";
    pub const OVERLAP: Reason = "overlap";
    pub const RESTART: Reason = "restart";
    pub const STREAM_LIMIT: Reason = "stream_limit";
}

/// What of a stream must be known for its next point. Small, for there are many.
#[derive(Debug, Clone)]
pub enum Last {
    /// Nothing but its times.
    Nothing,
    Number(f64),
    Value(Box<Value>),
}

/// What is kept of a stream, in 56 bytes beside its id.
#[derive(Debug, Clone)]
pub struct Stream {
    pub start_ns: u64,
    pub time_ns: u64,
    pub seen_ns: u64,
    pub last: Last,
    /// Place of its series in the family; `OVERFLOW` for the overflow series.
    pub series: u32,
    /// Its number in the checkpoint; 0 while it does not stand there, or as its series.
    pub saved: u32,
    /// Its last value is part of a sum that it leaves when it ends.
    pub leaves: bool,
    /// Has changed since it was written down last.
    pub changed: bool,
}

/// Not a place: the overflow series.
pub const OVERFLOW: u32 = u32::MAX;

/// What a point did to the series.
pub type Notes = [Option<Reason>; 2];

impl Stream {
    pub fn new(point: &Point, series: u32, now_ns: u64) -> Self {
        Self {
            start_ns: point.start_ns,
            time_ns: point.time_ns,
            seen_ns: now_ns,
            last: Last::Nothing,
            series,
            saved: 0,
            leaves: false,
            changed: false,
        }
    }

    /// Notes that `point` was taken.
    fn passed(&mut self, point: &Point, now_ns: u64) {
        if point.start_ns != 0 {
            self.start_ns = point.start_ns;
        }
        self.time_ns = self.time_ns.max(point.time_ns);
        self.seen_ns = now_ns;
    }

    pub fn keep(&mut self, value: Value) {
        self.last = match value {
            Value::Number(number) => Last::Number(number),
            other => Last::Value(Box::new(other)),
        };
    }

    fn last_value(&self) -> Option<Value> {
        match &self.last {
            Last::Nothing => None,
            Last::Number(number) => Some(Value::Number(*number)),
            Last::Value(value) => Some(Value::clone(value)),
        }
    }

    /// Takes a later point of this stream into a series that adds up.
    pub fn add(
        &mut self,
        series: &mut Series,
        point: Point,
        mode: Mode,
        counts: bool,
        now_ns: u64,
    ) -> Result<Notes, Reason> {
        let notes = match mode {
            Mode::Latest => {
                point.after(self.time_ns)?;
                [None, None]
            }
            Mode::Delta if counts => self.add_delta(series, &point)?,
            Mode::Delta => {
                self.add_delta(series, &point)?;
                let held = self.last_value().unwrap_or_else(|| point.value.zero());
                if let (Value::Number(held), Value::Number(gain)) = (held, &point.value) {
                    self.last = Last::Number(held + gain);
                }
                [None, None]
            }
            Mode::Cumulative => {
                let notes = self.add_cumulative(series, &point, counts)?;
                self.keep(point.value.clone());
                notes
            }
        };
        self.passed(&point, now_ns);
        series.took(point, mode, now_ns);
        Ok(notes)
    }

    fn add_delta(&self, series: &mut Series, point: &Point) -> Result<Notes, Reason> {
        if !point.untimed {
            point.after(self.time_ns)?;
        }
        let order = match point.start_ns {
            0 => None,
            _ if point.untimed => None,
            start_ns if start_ns < self.time_ns => Some(note::OVERLAP),
            start_ns if start_ns > self.time_ns => Some(note::GAP),
            _ => None,
        };
        Ok([order, add(series, &point.value)?])
    }

    fn add_cumulative(
        &self,
        series: &mut Series,
        point: &Point,
        counts: bool,
    ) -> Result<Notes, Reason> {
        let Some(last) = self.last_value() else {
            return Ok([None, None]);
        };
        if !counts {
            point.after(self.time_ns)?;
            return Ok([None, add(series, &point.value.gain(&last))?]);
        }
        match follow(self.start_ns, self.time_ns, &last, point)? {
            Step::Continues => Ok([None, add(series, &point.value.gain(&last))?]),
            Step::Resets => Ok([Some(note::RESTART), add(series, &point.value)?]),
        }
    }

    /// Takes the first point of this stream into a series that adds up.
    ///
    /// A fresh stream brings all it has counted. A cumulative one that began before this store, or that may have been
    /// here and expired, brings only what it gains from now on: the rest has been counted where it was shown.
    pub fn join(
        &mut self,
        room: &Room,
        series: &mut Series,
        point: Point,
        mode: Mode,
        counts: bool,
        now_ns: u64,
    ) -> Result<Notes, Reason> {
        let mut notes = [None, None];
        match mode {
            Mode::Latest => {}
            Mode::Delta => {
                notes[1] = add(series, &point.value)?;
                if !counts {
                    self.keep(point.value.clone());
                }
            }
            Mode::Cumulative => {
                if !counts || room.is_fresh(point.start_ns, now_ns) {
                    notes[1] = add(series, &point.value)?;
                }
                self.keep(point.value.clone());
            }
        }
        series.took(point, mode, now_ns);
        Ok(notes)
    }

    /// Takes the next point of the one stream that a plain series shows.
    pub fn show(
        &mut self,
        room: &Room,
        series: &mut Series,
        point: Point,
        counts: bool,
        now_ns: u64,
        fresh: impl FnOnce(u64) -> bool,
    ) -> Result<Notes, Reason> {
        let mut notes = [None, None];
        let step = if counts {
            follow(self.start_ns, self.time_ns, &series.point.value, &point)?
        } else {
            point.after(self.time_ns)?;
            Step::Continues
        };
        if step == Step::Resets && room.kept && !matches!(point.value, Value::Summary(_)) {
            return self.go_on(room, series, point, now_ns);
        }
        let (before, after) = (series.point.value.lines(), point.value.lines());
        if before != after {
            room.exchange(before, after)?;
        }
        self.passed(&point, now_ns);
        match step {
            Step::Continues => series.point.replace(point),
            Step::Resets => {
                self.time_ns = point.time_ns;
                let fresh = fresh(point.start_ns);
                series.reset(point, room.next_birth(), fresh);
                notes[0] = Some(note::RESTART);
            }
        }
        series.ingested_ns = now_ns;
        series.show_again();
        series.change = series.change.max(Change::Value);
        Ok(notes)
    }

    /// Its sender counts anew, but what the series has shown stays: from now on it adds up. The quantiles of a summary
    /// cannot be added up, so a summary begins anew with its sender.
    fn go_on(
        &mut self,
        room: &Room,
        series: &mut Series,
        point: Point,
        now_ns: u64,
    ) -> Result<Notes, Reason> {
        let lines = series.point.value.lines();
        let merged = add(series, &point.value)?;
        room.resize(lines, series.point.value.lines());
        series.sum_up();
        self.keep(point.value.clone());
        self.passed(&point, now_ns);
        self.time_ns = point.time_ns;
        series.took(point, Mode::Cumulative, now_ns);
        Ok([Some(note::RESTART), merged])
    }
}

/// Adds to what the series shows. A gain that cannot be added costs only itself.
pub fn add(series: &mut Series, gain: &Value) -> Result<Option<Reason>, Reason> {
    series.change = series.change.max(Change::Value);
    match series.point.value.add(gain) {
        Added::Exactly => Ok(None),
        Added::Rebucketed => Ok(Some(note::BUCKETS_MERGED)),
        Added::Not => Err(reason::TOTAL_TOO_LARGE),
    }
}

impl Series {
    /// Notes that a stream's point was added up here; of a gauge the latest is the value.
    fn took(&mut self, point: Point, mode: Mode, now_ns: u64) {
        if mode == Mode::Latest {
            if point.time_ns >= self.point.time_ns || self.stale {
                self.point.replace(point);
                self.show_again();
            }
        } else {
            self.point.time_ns = self.point.time_ns.max(point.time_ns);
            self.show_again();
        }
        self.ingested_ns = now_ns;
        self.change = self.change.max(Change::Value);
    }

    fn show_again(&mut self) {
        if self.stale {
            self.stale = false;
            self.change = Change::Whole;
        }
    }
}
