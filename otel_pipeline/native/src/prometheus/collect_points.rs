//! Data points of the store as OTLP writes them. Source: opentelemetry-proto 1.11, `metrics.proto`.
#![forbid(unsafe_code)]

use super::escape::{pairs, unescaped};
use super::exponential::Exponential;
use super::points::NO_RECORDED_VALUE;
use super::series::{Collected, Exemplar, Point, Series};
use super::value::{Histogram, Summary, Value};
use crate::otlp::{
    any, exemplar, exponential_point, histogram_point, key_value, number_point, point,
    put_exponential_buckets, summary_point,
};
use crate::wire::{
    put_bytes_field, put_fixed64_field, put_message, put_tag, put_varint, put_varint_field, zigzag,
};

const NS_PER_MS: u64 = 1_000_000;

/// A point as it is told.
pub struct Told<'a> {
    pub point: &'a Point,
    time_ms: u64,
    /// Counted nothing yet.
    zero: bool,
    /// The series has no value from now on.
    stale: bool,
    exemplars: Vec<&'a Exemplar>,
}

impl<'a> Told<'a> {
    pub fn plain(point: &'a Point, time_ms: u64) -> Self {
        Self {
            point,
            time_ms,
            zero: false,
            stale: false,
            exemplars: Vec::new(),
        }
    }

    pub fn zero(point: &'a Point, time_ms: u64) -> Self {
        Self {
            zero: true,
            ..Self::plain(point, time_ms)
        }
    }

    /// The series as it is, with the exemplars that were not told yet.
    pub fn now(series: &'a Series, time_ms: u64) -> Self {
        let known_ns = series.collected.exemplar_ns;
        let exemplars = series.exemplars().filter(|one| one.time_ns > known_ns);
        Self {
            stale: series.stale,
            exemplars: exemplars.filter(|_| !series.stale).collect(),
            ..Self::plain(&series.point, time_ms)
        }
    }

    /// What the series has gained, with the exemplars that were not told yet.
    pub fn gain(gain: &'a Point, series: &'a Series, time_ms: u64) -> Self {
        Self {
            point: gain,
            stale: false,
            ..Self::now(series, time_ms)
        }
    }

    /// The point of a series that has no value from now on.
    pub fn gone(point: &'a Point, collected: Collected, now_ns: u64) -> Self {
        Self::end(point, (now_ns / NS_PER_MS).max(collected.time_ms + 1))
    }

    pub fn end(point: &'a Point, time_ms: u64) -> Self {
        Self {
            stale: true,
            ..Self::plain(point, time_ms)
        }
    }
}

/// What `target_info` is: 1.
pub fn target_point(now_ns: u64) -> Point {
    Point {
        start_ns: 0,
        time_ns: now_ns,
        untimed: false,
        value: Value::Number(1.0),
    }
}

/// Writes one data point with the labels of this text.
pub fn put_point(out: &mut Vec<u8>, labels: &str, told: &Told<'_>) {
    use crate::otlp::metric::DATA_POINTS;
    let zero = told.zero.then(|| told.point.value.zero());
    put_message(out, DATA_POINTS, |out| {
        put_fixed64_field(out, point::START_TIME, told.point.start_ns);
        put_fixed64_field(out, point::TIME, told.time_ms * NS_PER_MS);
        let layout = match zero.as_ref().unwrap_or(&told.point.value) {
            Value::Number(value) => {
                put_double(out, number_point::DOUBLE, *value);
                Layout::NUMBER
            }
            Value::Histogram(histogram) => put_histogram(out, histogram),
            Value::Exponential(exponential) => put_exponential(out, exponential),
            Value::Summary(summary) => put_summary(out, summary),
        };
        put_labels(out, layout.attributes, labels);
        for exemplar in &told.exemplars {
            put_message(out, layout.exemplars, |out| put_exemplar(out, exemplar));
        }
        if told.stale {
            put_varint_field(out, layout.flags, NO_RECORDED_VALUE);
        }
    });
}

/// The fields that differ between the kinds of data points.
struct Layout {
    attributes: u32,
    exemplars: u32,
    flags: u32,
}

impl Layout {
    const NUMBER: Self = Self {
        attributes: number_point::ATTRIBUTES,
        exemplars: number_point::EXEMPLARS,
        flags: number_point::FLAGS,
    };
}

fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_fixed64_field(out, number, value.to_bits());
}

fn put_packed(out: &mut Vec<u8>, number: u32, words: impl ExactSizeIterator<Item = u64>) {
    put_tag(out, number, 2);
    put_varint(out, words.len() as u64 * 8);
    words.for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}

fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) -> Layout {
    put_fixed64_field(out, histogram_point::COUNT, histogram.count);
    if let Some(sum) = histogram.sum {
        put_double(out, histogram_point::SUM, sum);
    }
    let counts = histogram.counts.iter().copied();
    put_packed(out, histogram_point::BUCKET_COUNTS, counts);
    let bounds = histogram.bounds.values.iter().map(|bound| bound.to_bits());
    put_packed(out, histogram_point::EXPLICIT_BOUNDS, bounds);
    Layout {
        attributes: histogram_point::ATTRIBUTES,
        exemplars: histogram_point::EXEMPLARS,
        flags: histogram_point::FLAGS,
    }
}

fn put_exponential(out: &mut Vec<u8>, exponential: &Exponential) -> Layout {
    put_fixed64_field(out, exponential_point::COUNT, exponential.count);
    if let Some(sum) = exponential.sum {
        put_double(out, exponential_point::SUM, sum);
    }
    put_varint_field(
        out,
        exponential_point::SCALE,
        zigzag(exponential.scale.into()),
    );
    put_fixed64_field(out, exponential_point::ZERO_COUNT, exponential.zero_count);
    put_double(
        out,
        exponential_point::ZERO_THRESHOLD,
        exponential.zero_threshold,
    );
    let signs = [
        (exponential_point::POSITIVE, &exponential.positive),
        (exponential_point::NEGATIVE, &exponential.negative),
    ];
    for (number, buckets) in signs {
        put_exponential_buckets(out, number, buckets.offset, &buckets.counts);
    }
    Layout {
        attributes: exponential_point::ATTRIBUTES,
        exemplars: exponential_point::EXEMPLARS,
        flags: exponential_point::FLAGS,
    }
}

fn put_summary(out: &mut Vec<u8>, summary: &Summary) -> Layout {
    put_fixed64_field(out, summary_point::COUNT, summary.count);
    put_double(out, summary_point::SUM, summary.sum);
    for (quantile, value) in &summary.quantiles {
        put_message(out, summary_point::QUANTILES, |out| {
            put_double(out, summary_point::QUANTILE, *quantile);
            put_double(out, summary_point::VALUE, *value);
        });
    }
    Layout {
        attributes: summary_point::ATTRIBUTES,
        exemplars: 0,
        flags: summary_point::FLAGS,
    }
}

fn put_labels(out: &mut Vec<u8>, number: u32, labels: &str) {
    for (name, value) in pairs(labels) {
        put_attribute(out, number, &unescaped(name), &unescaped(value));
    }
}

fn put_attribute(out: &mut Vec<u8>, number: u32, name: &str, value: &str) {
    put_message(out, number, |out| {
        put_bytes_field(out, key_value::KEY, name.as_bytes());
        put_message(out, key_value::VALUE, |out| {
            put_bytes_field(out, any::STRING, value.as_bytes());
        });
    });
}

fn put_exemplar(out: &mut Vec<u8>, told: &Exemplar) {
    put_fixed64_field(out, exemplar::TIME, told.time_ns);
    put_double(out, exemplar::DOUBLE, told.value);
    for (name, value) in pairs(&told.text) {
        match (name, from_hex(value)) {
            ("trace_id", Some(id)) if id.len() == 16 => {
                put_bytes_field(out, exemplar::TRACE_ID, &id);
            }
            ("span_id", Some(id)) if id.len() == 8 => put_bytes_field(out, exemplar::SPAN_ID, &id),
            _ => {
                let name = unescaped(name);
                put_attribute(out, exemplar::FILTERED_ATTRIBUTES, &name, &unescaped(value));
            }
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let pairs = digits.chunks_exact(2);
    Some(pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}
