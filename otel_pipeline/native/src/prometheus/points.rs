//! Reads OTLP data points that are numbers or histograms with bounds. Source: opentelemetry-proto `metrics.proto`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::series::{Kind, Point, Reason};
use super::stream::Mode;
use super::value::{Bounds, Histogram, Value};
use crate::otlp::{histogram_point, number_point, point};
use crate::wire::{self, fields};

pub const INVALID_HISTOGRAM: Reason = "invalid_histogram";
pub const INVALID_VALUE: Reason = "invalid_value";

/// `DataPointFlags`.
pub const NO_RECORDED_VALUE: u64 = 1;
/// A time further ahead of the gateway's clock than this is no time.
const MAX_AHEAD_NS: u64 = 300_000_000_000;

/// What a data point says.
pub enum Read {
    Point(Point),
    /// The series has no value at this time.
    NoValue {
        time_ns: u64,
    },
}

impl Read {
    pub fn point(start_ns: u64, time_ns: u64, value: Value) -> Self {
        Self::Point(Point {
            start_ns,
            time_ns,
            untimed: false,
            value,
        })
    }

    /// A point without a time, or with one that is still to come, is of now; true for the latter. Nothing starts after
    /// its end: such a start is unknown.
    pub fn settle_time(&mut self, now_ns: u64) -> bool {
        let time_ns = match self {
            Self::Point(point) => &mut point.time_ns,
            Self::NoValue { time_ns } => time_ns,
        };
        let ahead = *time_ns > now_ns.saturating_add(MAX_AHEAD_NS);
        let untimed = *time_ns == 0 || ahead;
        if untimed {
            *time_ns = now_ns;
        }
        if let Self::Point(point) = self {
            point.untimed = untimed;
            if point.start_ns > point.time_ns {
                point.start_ns = 0;
            }
        }
        ahead
    }
}

/// Reads the value of a gauge or sum. A sum must be finite, a counter not negative.
pub fn read_number(body: &[u8], kind: Kind, mode: Mode) -> Result<Read, Reason> {
    let (mut start_ns, mut time_ns, mut flags, mut value) = (0, 0, 0, None);
    for field in fields(body).flatten() {
        match field.number {
            point::START_TIME => start_ns = field.value.number(),
            point::TIME => time_ns = field.value.number(),
            number_point::DOUBLE => value = Some(f64::from_bits(field.value.number())),
            number_point::INT => value = Some(field.value.number() as i64 as f64),
            number_point::FLAGS => flags = field.value.number(),
            _ => {}
        }
    }
    if flags & NO_RECORDED_VALUE != 0 {
        return Ok(Read::NoValue { time_ns });
    }
    let value = value.ok_or(INVALID_VALUE)?;
    let finite = mode == Mode::Latest || value.is_finite();
    if !finite || (kind == Kind::Counter && value < 0.0) {
        return Err(INVALID_VALUE);
    }
    Ok(Read::point(start_ns, time_ns, Value::Number(value)))
}

/// Reads histograms; neighbouring points share their bounds.
#[derive(Default)]
pub struct HistogramReader {
    bounds: Option<Arc<Bounds>>,
}

impl HistogramReader {
    /// The bucket counts must be one more than the bounds, or both be absent, and add up to the count.
    pub fn read(&mut self, body: &[u8]) -> Result<Read, Reason> {
        let (mut start_ns, mut time_ns, mut flags, mut count, mut sum) = (0, 0, 0, 0, None);
        let (mut counts, mut bounds) = (Vec::new(), Vec::new());
        for field in fields(body).flatten() {
            match field.number {
                point::START_TIME => start_ns = field.value.number(),
                point::TIME => time_ns = field.value.number(),
                histogram_point::COUNT => count = field.value.number(),
                histogram_point::SUM => sum = Some(f64::from_bits(field.value.number())),
                histogram_point::BUCKET_COUNTS => push_fixed64(&mut counts, field.value),
                histogram_point::EXPLICIT_BOUNDS => push_fixed64(&mut bounds, field.value),
                histogram_point::FLAGS => flags = field.value.number(),
                _ => {}
            }
        }
        if flags & NO_RECORDED_VALUE != 0 {
            return Ok(Read::NoValue { time_ns });
        }
        if counts.is_empty() && bounds.is_empty() {
            counts.push(count);
        }
        let total = counts.iter().try_fold(0u64, |sum, n| sum.checked_add(*n));
        if counts.len() != bounds.len() + 1 || total != Some(count) {
            return Err(INVALID_HISTOGRAM);
        }
        if sum.is_some_and(|sum| !sum.is_finite()) {
            return Err(INVALID_HISTOGRAM);
        }
        let bounds = self.bounds(bounds.into_iter().map(f64::from_bits).collect())?;
        let histogram = Histogram {
            bounds,
            counts: counts.into(),
            count,
            sum,
        };
        Ok(Read::point(start_ns, time_ns, Value::Histogram(histogram)))
    }

    fn bounds(&mut self, values: Vec<f64>) -> Result<Arc<Bounds>, Reason> {
        if let Some(known) = self.bounds.as_ref().filter(|known| known.values == values) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Bounds::new(values).ok_or(INVALID_HISTOGRAM)?);
        self.bounds = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// A repeated fixed64 or double: packed, as senders write it, or one by one.
fn push_fixed64(out: &mut Vec<u64>, value: wire::Value<'_>) {
    match value {
        wire::Value::Bytes(packed) => {
            let words = packed
                .chunks_exact(8)
                .filter_map(|word| word.try_into().ok());
            out.extend(words.map(u64::from_le_bytes));
        }
        one => out.push(one.number()),
    }
}
