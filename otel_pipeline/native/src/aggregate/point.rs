//! Reads one data point, of whatever kind: when it was made, what it says, and how it has to be added up.
#![forbid(unsafe_code)]

use super::streams::Reading;
use crate::otlp::{histogram_point, metric, number, number_point, point};
use crate::rows::point_attributes;
use crate::wire::{Value, fields};

/// `DataPointFlags`: the point only says that the stream is gone.
const NO_RECORDED_VALUE: u64 = 1;

/// Histograms with more buckets are not added up.
const MAX_BUCKETS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporality {
    /// Neither of the others, or none where there must be one.
    None,
    Delta,
    Cumulative,
}

/// What a metric's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Field of the Metric message.
    pub number: u32,
    pub temporality: Temporality,
}

impl Kind {
    /// `data` is the body of field `number` of a Metric message.
    pub fn of(number: u32, data: &[u8]) -> Self {
        let temporality = match (number, temporality_number(data)) {
            (metric::GAUGE | metric::SUMMARY, _) | (_, 2) => Temporality::Cumulative,
            (_, 1) => Temporality::Delta,
            _ => Temporality::None,
        };
        Self {
            number,
            temporality,
        }
    }

    pub fn is_gauge(self) -> bool {
        self.number == metric::GAUGE
    }

    /// Gauges and sums: one number, not a distribution.
    pub fn is_number(self) -> bool {
        matches!(self.number, metric::GAUGE | metric::SUM)
    }
}

fn temporality_number(data: &[u8]) -> u64 {
    number(data, metric::TEMPORALITY)
}

/// What one data point says.
#[derive(Debug, Default)]
pub struct Point {
    pub reading: Reading,
    /// Upper bounds of the buckets but the last; empty where no buckets are told.
    pub bounds: Vec<f64>,
    /// Whether there is a finite number, or sum.
    pub has_value: bool,
    /// Says that there is nothing more to say.
    pub is_gone: bool,
}

impl Point {
    /// Reads the body of a point below field `number` of its metric; `attribute` is given each KeyValue message.
    pub fn read<'a>(number: u32, body: &'a [u8], mut attribute: impl FnMut(&'a [u8])) -> Self {
        let (mut read, mut value) = (Self::default(), None);
        let attributes = point_attributes(number);
        let is_number = matches!(number, metric::GAUGE | metric::SUM);
        for field in fields(body).flatten() {
            match (field.number, field.value) {
                (one, Value::Bytes(body)) if one == attributes => attribute(body),
                (point::START_TIME, one) => read.reading.start_ns = one.number(),
                (point::TIME, one) => read.reading.time_ns = one.number(),
                (one, Value::Fixed64(bits)) if is_number => match one {
                    number_point::DOUBLE => value = Some(f64::from_bits(bits)),
                    number_point::INT => value = Some(bits as i64 as f64),
                    _ => {}
                },
                (number_point::FLAGS, one) if is_number => read.set_flags(one),
                (_, one) if !is_number => read.distribution(number, field.number, one, &mut value),
                _ => {}
            }
        }
        let finite = value.filter(|value| value.is_finite());
        read.has_value = finite.is_some();
        read.reading.value = finite.unwrap_or(0.0);
        if read.bounds.len() >= MAX_BUCKETS || read.reading.counts.len() != read.bounds.len() + 1 {
            read.bounds.clear();
            read.reading.counts.clear();
        }
        read
    }

    /// One field of a histogram, exponential histogram or summary; count and sum have the same numbers in all.
    fn distribution(&mut self, kind: u32, number: u32, value: Value<'_>, sum: &mut Option<f64>) {
        let is_histogram = kind == metric::HISTOGRAM;
        match (number, value) {
            (histogram_point::COUNT, one) => self.reading.count = one.number(),
            (histogram_point::SUM, Value::Fixed64(bits)) => *sum = Some(f64::from_bits(bits)),
            (histogram_point::BUCKET_COUNTS, one) if is_histogram => {
                push_fixed64(&mut self.reading.counts, one, |bits| bits);
            }
            (histogram_point::EXPLICIT_BOUNDS, one) if is_histogram => {
                push_fixed64(&mut self.bounds, one, f64::from_bits);
            }
            (number_point::FLAGS, one) if kind == metric::SUMMARY => self.set_flags(one),
            (histogram_point::FLAGS, one) if kind != metric::SUMMARY => self.set_flags(one),
            _ => {}
        }
    }

    fn set_flags(&mut self, flags: Value<'_>) {
        self.is_gone = flags.number() & NO_RECORDED_VALUE != 0;
    }
}

/// A repeated fixed64 or double, packed or one by one; as many as are of use.
fn push_fixed64<T>(out: &mut Vec<T>, value: Value<'_>, from: impl Fn(u64) -> T) {
    match value {
        Value::Bytes(packed) => {
            let words = packed.chunks_exact(8).take(MAX_BUCKETS + 1);
            let words = words.filter_map(|word| word.try_into().ok());
            out.extend(words.map(|word| from(u64::from_le_bytes(word))));
        }
        one if out.len() <= MAX_BUCKETS => out.push(from(one.number())),
        _ => {}
    }
}
