//! Reads OTLP data points and exemplars. Source: opentelemetry-proto `metrics.proto`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::labels::{attribute_text, push_escaped};
use super::names::Names;
use super::series::{Bounds, Exemplar, Histogram, Kind, Point, Reason, Value};
use crate::otlp::{AnyValue, attributes, exemplar, histogram_point, number_point, point, text};
use crate::wire::{self, fields};

pub const INVALID_HISTOGRAM: Reason = "invalid_histogram";
pub const INVALID_VALUE: Reason = "invalid_value";

/// Characters that the labels of one exemplar may have together, names included. Source: OpenMetrics 1.0, "Exemplars".
const MAX_EXEMPLAR_CHARS: usize = 128;
/// `DataPointFlags`.
const NO_RECORDED_VALUE: u64 = 1;

/// What a data point says.
pub enum Read {
    Point(Point),
    /// The series has no value at this time.
    NoValue {
        time_ns: u64,
    },
}

impl Read {
    /// A point without a time is of now.
    pub fn set_missing_time(&mut self, now_ns: u64) {
        let time_ns = match self {
            Self::Point(point) => &mut point.time_ns,
            Self::NoValue { time_ns } => time_ns,
        };
        if *time_ns == 0 {
            *time_ns = now_ns;
        }
    }
}

/// Reads the value of a gauge or sum. A counter must be finite and not negative.
pub fn read_number(body: &[u8], kind: Kind) -> Result<Read, Reason> {
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
    if kind == Kind::Counter && !(value.is_finite() && value >= 0.0) {
        return Err(INVALID_VALUE);
    }
    Ok(Read::Point(Point {
        start_ns,
        time_ns,
        value: Value::Number(value),
    }))
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
        let bounds = self.bounds(bounds.into_iter().map(f64::from_bits).collect())?;
        Ok(Read::Point(Point {
            start_ns,
            time_ns,
            value: Value::Histogram(Histogram {
                bounds,
                counts: counts.into(),
                count,
                sum,
            }),
        }))
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

/// Reads an exemplar; None where it says nothing that leads anywhere: no trace and no attribute, or no value.
pub fn read_exemplar(body: &[u8], names: &Names) -> Option<Exemplar> {
    let (mut time_ns, mut value) = (0, None);
    let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
    for field in fields(body).flatten() {
        match field.number {
            exemplar::TIME => time_ns = field.value.number(),
            exemplar::DOUBLE => value = Some(f64::from_bits(field.value.number())),
            exemplar::INT => value = Some(field.value.number() as i64 as f64),
            exemplar::TRACE_ID => trace_id = field.value.bytes(),
            exemplar::SPAN_ID => span_id = field.value.bytes(),
            _ => {}
        }
    }
    let value = value.filter(|value| value.is_finite())?;
    let mut labels = ExemplarLabels::default();
    if is_id(trace_id, 16) {
        labels.add("trace_id", &hex(trace_id));
        if is_id(span_id, 8) {
            labels.add("span_id", &hex(span_id));
        }
    }
    for (key, value) in attributes(body, exemplar::FILTERED_ATTRIBUTES) {
        let value = attribute_text(AnyValue::parse(value));
        labels.add(&names.label(text(key)), &value);
    }
    labels.finish().map(|text| Exemplar {
        time_ns,
        value,
        text,
    })
}

/// Labels in the order they came, each name once, as long as they fit.
#[derive(Default)]
struct ExemplarLabels {
    names: Vec<String>,
    text: String,
    chars: usize,
}

impl ExemplarLabels {
    fn add(&mut self, name: &str, value: &str) {
        let chars = self.chars + name.chars().count() + value.chars().count();
        let taken = self.names.iter().any(|held| held == name);
        if taken || value.is_empty() || chars > MAX_EXEMPLAR_CHARS {
            return;
        }
        self.chars = chars;
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(name);
        self.text.push_str("=\"");
        push_escaped(&mut self.text, value);
        self.text.push('"');
        self.names.push(name.to_owned());
    }

    fn finish(self) -> Option<Box<str>> {
        (!self.text.is_empty()).then(|| self.text.into())
    }
}

fn is_id(bytes: &[u8], length: usize) -> bool {
    bytes.len() == length && bytes.iter().any(|byte| *byte != 0)
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
