//! One series: its latest cumulative point, how the next point may follow it, and which scrapers have seen it.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::number::bound_text;

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
}

/// What a family is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Upper bounds of a histogram's buckets, without the last (+Inf), with their `le` texts for both formats.
#[derive(Debug)]
pub struct Bounds {
    pub values: Vec<f64>,
    pub text: Vec<String>,
    pub openmetrics: Vec<String>,
}

impl Bounds {
    /// None unless finite and strictly increasing.
    pub fn new(values: Vec<f64>) -> Option<Self> {
        let finite = values.iter().all(|bound| bound.is_finite());
        let increasing = values.is_sorted_by(|a, b| a < b);
        let le = |openmetrics| {
            let texts = values.iter().map(|bound| bound_text(*bound, openmetrics));
            texts.chain(["+Inf".to_owned()]).collect()
        };
        let (text, openmetrics) = (le(false), le(true));
        (finite && increasing).then_some(Self {
            values,
            text,
            openmetrics,
        })
    }
}

#[derive(Debug, Clone)]
pub struct Histogram {
    pub bounds: Arc<Bounds>,
    /// One for each bound and one for +Inf, not accumulated.
    pub counts: Box<[u64]>,
    pub count: u64,
    pub sum: Option<f64>,
}

#[derive(Debug, Clone)]
pub enum Value {
    Number(f64),
    Histogram(Histogram),
}

impl Value {
    /// How many lines of a text page it takes: what Prometheus calls series.
    pub fn lines(&self) -> usize {
        match self {
            Self::Number(_) => 1,
            Self::Histogram(histogram) => histogram.counts.len() + 2,
        }
    }

    pub fn same_bounds(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(_), Self::Number(_)) => true,
            (Self::Histogram(a), Self::Histogram(b)) => {
                Arc::ptr_eq(&a.bounds, &b.bounds) || a.bounds.values == b.bounds.values
            }
            _ => false,
        }
    }

    /// True where a counter, a bucket or a count went down. The sum may: observations can be negative.
    fn is_below(&self, last: &Self) -> bool {
        match (self, last) {
            (Self::Number(now), Self::Number(last)) => now < last,
            (Self::Histogram(now), Self::Histogram(last)) => {
                now.count < last.count || now.counts.iter().zip(&last.counts).any(|(a, b)| a < b)
            }
            _ => true,
        }
    }

    /// Adds what `now` has gained over `last` (nothing known: all of it). All three have the same bounds.
    pub fn add_gain(&mut self, now: &Self, last: Option<&Self>) {
        match (self, now, last) {
            (Self::Number(total), Self::Number(now), Some(Self::Number(last))) => {
                *total += now - last
            }
            (Self::Number(total), Self::Number(now), _) => *total += now,
            (Self::Histogram(total), Self::Histogram(now), last) => {
                let last = match last {
                    Some(Self::Histogram(last)) => Some(last),
                    _ => None,
                };
                total.add_gain(now, last);
            }
            _ => {}
        }
    }

    /// The same shape with nothing in it.
    pub fn zero(&self) -> Self {
        match self {
            Self::Number(_) => Self::Number(0.0),
            Self::Histogram(histogram) => Self::Histogram(Histogram {
                bounds: Arc::clone(&histogram.bounds),
                counts: vec![0; histogram.counts.len()].into(),
                count: 0,
                sum: histogram.sum.map(|_| 0.0),
            }),
        }
    }
}

impl Histogram {
    fn add_gain(&mut self, now: &Self, last: Option<&Self>) {
        for (index, total) in self.counts.iter_mut().enumerate() {
            let gain = |of: &Self| of.counts.get(index).copied().unwrap_or(0);
            let gained = gain(now).saturating_sub(last.map_or(0, gain));
            *total = total.saturating_add(gained);
        }
        let gained = now.count.saturating_sub(last.map_or(0, |last| last.count));
        self.count = self.count.saturating_add(gained);
        self.sum = match (self.sum, now.sum, last.map_or(Some(0.0), |last| last.sum)) {
            (Some(total), Some(now), Some(last)) => Some(total + now - last),
            _ => None,
        };
    }
}

/// One cumulative (or gauge) data point.
#[derive(Debug, Clone)]
pub struct Point {
    /// 0 where the sender does not know it.
    pub start_ns: u64,
    pub time_ns: u64,
    pub value: Value,
}

/// How a point follows the one before it.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Continues,
    /// Counting began anew.
    Resets,
}

impl Point {
    /// How `next` follows this point. Source: OTLP data model, "Resets and Gaps" and "Single-Writer".
    ///
    /// A later start time is a reset whatever the value. An earlier one belongs to a process that another has replaced,
    /// or to two that write one series: the youngest wins, else every point would look like a reset. Within one start
    /// time a value never falls; where the start is unknown a fall is the only sign of a reset, and is taken as one.
    pub fn follow(&self, next: &Self, kind: Kind) -> Result<Step, Reason> {
        let start_ns = match next.start_ns {
            0 => self.start_ns,
            known => known,
        };
        let counts = kind != Kind::Gauge;
        if counts && start_ns > self.start_ns {
            return Ok(Step::Resets);
        }
        if counts && start_ns < self.start_ns {
            return Err(reason::OLD_START_TIME);
        }
        if next.time_ns <= self.time_ns {
            return Err(reason::OLD_POINT);
        }
        let broken = match () {
            () if !counts => None,
            () if !next.value.same_bounds(&self.value) => Some(reason::BOUNDS_CHANGED),
            () if next.value.is_below(&self.value) => Some(reason::COUNTER_DECREASED),
            () => None,
        };
        match broken {
            None => Ok(Step::Continues),
            Some(_) if start_ns == 0 => Ok(Step::Resets),
            Some(reason) => Err(reason),
        }
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

/// A point and all that a page needs beside it.
#[derive(Debug)]
pub struct Series {
    pub point: Point,
    pub ingested_ns: u64,
    /// The sender said that there is no value now: kept, so that its start time is remembered, but not shown.
    pub stale: bool,
    /// By bucket; a counter has one. Empty until the first exemplar.
    exemplars: Box<[Option<Exemplar>]>,
    /// Place in the order of births; a reset is a birth.
    born: u64,
    /// Nothing of this birth was ever shown before, so that 0 was its true value.
    fresh: bool,
    /// Bits of the scrapers that have seen this birth.
    shown: u64,
}

impl Series {
    pub fn new(point: Point, now_ns: u64, born: u64, fresh: bool) -> Self {
        Self {
            point,
            ingested_ns: now_ns,
            stale: false,
            exemplars: Box::default(),
            born,
            fresh,
            shown: 0,
        }
    }

    /// Counting began anew with `point`.
    pub fn reset(&mut self, point: Point, born: u64, fresh: bool) {
        self.point = point;
        self.exemplars = Box::default();
        self.born = born;
        self.fresh = fresh;
        self.shown = 0;
    }

    /// Notes that `scraper` is shown this series now; true where it must be shown 0 first.
    ///
    /// A scraper sees 0 once for each birth: if nobody was shown it yet, or if the scraper was known before it was born.
    /// One that appears later gets the value, for it may be an old one under a new address, to which 0 would look like
    /// a reset. Bits left by a former owner of a slot do no harm: they stand only on series born before the new owner.
    pub fn show(&mut self, scraper: Scraper) -> bool {
        let first = self.shown & scraper.bit == 0;
        let zero = self.fresh && first && (self.shown == 0 || self.born > scraper.since);
        self.shown |= scraper.bit;
        zero
    }

    /// Keeps the latest exemplar of each bucket.
    pub fn add_exemplar(&mut self, exemplar: Exemplar) {
        let (index, length) = match &self.point.value {
            Value::Number(_) => (0, 1),
            Value::Histogram(histogram) => {
                let bounds = &histogram.bounds.values;
                let index = bounds.partition_point(|bound| *bound < exemplar.value);
                (index, bounds.len() + 1)
            }
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

    pub fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        self.exemplars.get(bucket).and_then(Option::as_ref)
    }
}
