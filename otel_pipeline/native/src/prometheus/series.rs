//! One series: what it shows, how the next point of a stream may follow the last, and which scrapers have seen it.
#![forbid(unsafe_code)]

use super::stream::StreamId;
use super::value::Value;

/// Why a data point was not kept, as counted.
pub type Reason = &'static str;

pub mod reason {
    use super::Reason;

    pub const BOUNDS_CHANGED: Reason = "bounds_changed";
    pub const COUNTER_DECREASED: Reason = "counter_decreased";
    pub const OLD_POINT: Reason = "old_point";
    pub const OLD_START_TIME: Reason = "old_start_time";
    pub const OVERFLOW_FULL: Reason = "overflow_full";
    pub const SERIES_LIMIT: Reason = "series_limit";
    pub const STREAM_LIMIT: Reason = "stream_limit";
    pub const TOTAL_TOO_LARGE: Reason = "total_too_large";
}

/// What a family is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Shown as classic buckets in text; natively where the format can.
    Exponential,
    Summary,
    /// A gauge of which nobody knows what it is.
    Unknown,
    /// A gauge that is always 1, for its labels.
    Info,
    /// Gauges that are 0 or 1, one for each state.
    StateSet,
}

impl Kind {
    /// What has a value now, and counts nothing.
    pub fn is_gauge(self) -> bool {
        matches!(
            self,
            Self::Gauge | Self::Unknown | Self::Info | Self::StateSet
        )
    }
}

/// One cumulative (or gauge) data point.
#[derive(Debug, Clone)]
pub struct Point {
    /// 0 where the sender does not know it.
    pub start_ns: u64,
    pub time_ns: u64,
    /// The sender told no time, or one that cannot be: it is the moment of arrival.
    pub untimed: bool,
    pub value: Value,
}

/// How a point follows the one before it.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Continues,
    /// Counting began anew.
    Resets,
}

/// How `next` follows a point with this start, time and value. Source: OTLP data model, "Resets and Gaps" and
/// "Single-Writer".
///
/// A later start time is a reset whatever the value. An earlier one belongs to a process that another has replaced, or
/// to two that write one stream: the youngest wins, else every point would look like a reset. Within one start time a
/// value never falls; where the start is unknown a fall is the only sign of a reset, and is taken as one.
pub fn follow(
    last_start_ns: u64,
    last_time_ns: u64,
    last: &Value,
    next: &Point,
) -> Result<Step, Reason> {
    let start_ns = match next.start_ns {
        0 => last_start_ns,
        known => known,
    };
    if start_ns > last_start_ns {
        return Ok(Step::Resets);
    }
    if start_ns < last_start_ns {
        return Err(reason::OLD_START_TIME);
    }
    next.after(last_time_ns)?;
    let broken = match () {
        () if !next.value.same_bounds(last) => Some(reason::BOUNDS_CHANGED),
        () if next.value.is_below(last) => Some(reason::COUNTER_DECREASED),
        () => None,
    };
    match broken {
        None => Ok(Step::Continues),
        Some(_) if start_ns == 0 => Ok(Step::Resets),
        Some(reason) => Err(reason),
    }
}

impl Point {
    /// Whether it comes after the last one of its stream. One whose time is not the sender's may be as old.
    pub fn after(&self, last_time_ns: u64) -> Result<(), Reason> {
        let newer = self.time_ns > last_time_ns || (self.untimed && self.time_ns == last_time_ns);
        newer.then_some(()).ok_or(reason::OLD_POINT)
    }

    /// Takes the place of this point; an unknown start time stays what was known.
    pub fn replace(&mut self, next: Self) {
        let known = self.start_ns;
        *self = next;
        if self.start_ns == 0 {
            self.start_ns = known;
        }
    }
}

/// Exemplars that an exponential histogram keeps.
const EXPONENTIAL_EXEMPLARS: usize = 10;

/// An example behind a bucket or counter, as the text that follows `# ` on a page.
#[derive(Debug, Clone)]
pub struct Exemplar {
    pub time_ns: u64,
    pub value: f64,
    pub text: Box<str>,
}

/// Who scrapes: a bit of its own and the moment (in births) since which it is known.
#[derive(Debug, Clone, Copy)]
pub struct Scraper {
    pub bit: u64,
    pub since: u64,
}

/// What was last collected of a series; see `collect`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Collected {
    /// The time it was given; 0 where it never was collected.
    pub time_ms: u64,
    pub ingested_ns: u64,
    pub stale: bool,
    /// Of its latest exemplar.
    pub exemplar_ns: u64,
}

/// What of a series has changed since it was written down last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Nothing,
    /// Its value and times.
    Value,
    /// Anything.
    Whole,
}

/// A point and all that a page needs beside it.
#[derive(Debug)]
pub struct Series {
    pub point: Point,
    pub ingested_ns: u64,
    /// The stream that made it.
    pub owner: StreamId,
    /// Shows the latest point of its one stream as it is; else it adds up what streams gain.
    pub plain: bool,
    /// The sender said that there is no value now: kept, so that its start time is remembered, but not shown.
    pub stale: bool,
    pub change: Change,
    /// Its number in the checkpoint; 0 while it has none.
    pub saved: u32,
    /// By bucket; a counter has one. Empty until the first exemplar.
    exemplars: Box<[Option<Exemplar>]>,
    /// Place in the order of births; a reset is a birth.
    pub born: u64,
    /// Nothing of this birth was ever shown before, so that 0 was its true value.
    pub fresh: bool,
    /// Bits of the scrapers that have seen this birth.
    pub shown: u64,
    pub collected: Collected,
    /// The value up to which increments were collected.
    pub told: Option<Box<Value>>,
}

impl Series {
    pub fn new(point: Point, owner: StreamId, now_ns: u64, born: u64, fresh: bool) -> Self {
        Self {
            point,
            ingested_ns: now_ns,
            owner,
            plain: true,
            stale: false,
            change: Change::Whole,
            saved: 0,
            exemplars: Box::default(),
            born,
            fresh,
            shown: 0,
            collected: Collected::default(),
            told: None,
        }
    }

    /// Counting began anew with `point`.
    pub fn reset(&mut self, point: Point, born: u64, fresh: bool) {
        if let Some(told) = &mut self.told {
            **told = point.value.zero();
        }
        self.point = point;
        self.exemplars = Box::default();
        self.born = born;
        self.fresh = fresh;
        self.shown = 0;
        self.change = Change::Whole;
    }

    /// From now on it adds up.
    pub fn sum_up(&mut self) {
        self.plain = false;
        self.change = Change::Whole;
    }

    /// Notes that `scraper` is shown this series now; true where it must be shown 0 first.
    ///
    /// A scraper sees 0 once for each birth: if nobody was shown it yet, or if the scraper was known before it was born.
    /// One that appears later gets the value, for it may be an old one under a new address, to which 0 would look like
    /// a reset. Bits left by a former owner of a slot do no harm: they stand only on series born before the new owner.
    pub fn show(&mut self, scraper: Scraper) -> bool {
        let first = self.shown & scraper.bit == 0;
        let zero = self.fresh && first && (self.shown == 0 || self.born > scraper.since);
        if first {
            self.shown |= scraper.bit;
            self.change = Change::Whole;
        }
        zero
    }

    /// Keeps the latest exemplar of each bucket; of an exponential histogram the latest of all.
    pub fn add_exemplar(&mut self, exemplar: Exemplar) {
        let (index, length) = match &self.point.value {
            Value::Number(_) => (0, 1),
            Value::Histogram(histogram) => {
                let bounds = &histogram.bounds.values;
                let index = bounds.partition_point(|bound| *bound < exemplar.value);
                (index, bounds.len() + 1)
            }
            Value::Exponential(_) => (self.oldest_exemplar(), EXPONENTIAL_EXEMPLARS),
            Value::Summary(_) => return,
        };
        if self.exemplars.len() != length {
            self.exemplars = vec![None; length].into();
        }
        if let Some(slot) = self.exemplars.get_mut(index) {
            let older = slot
                .as_ref()
                .is_none_or(|held| held.time_ns <= exemplar.time_ns);
            if older {
                *slot = Some(exemplar);
            }
        }
    }

    fn oldest_exemplar(&self) -> usize {
        let times = self.exemplars.iter().enumerate();
        let oldest = times.min_by_key(|(_, slot)| slot.as_ref().map_or(0, |held| held.time_ns));
        oldest.map_or(0, |(index, _)| index)
    }

    pub fn exemplars(&self) -> impl Iterator<Item = &Exemplar> {
        self.exemplars.iter().flatten()
    }

    pub fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        self.exemplars.get(bucket).and_then(Option::as_ref)
    }
}
