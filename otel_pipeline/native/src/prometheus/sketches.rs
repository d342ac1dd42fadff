//! Reads OTLP data points that are exponential histograms or summaries. Source: opentelemetry-proto `metrics.proto`.
#![forbid(unsafe_code)]

use super::exponential::{Buckets, Exponential, MIN_SCALE};
use super::points::{INVALID_HISTOGRAM, NO_RECORDED_VALUE, Read};
use super::series::Reason;
use super::value::{Summary, Value};
use crate::otlp::{children, exponential_point, point, summary_point};
use crate::wire::{self, fields};

pub const INVALID_SUMMARY: Reason = "invalid_summary";
pub const NO_SUM: Reason = "no_sum";
pub const SCALE_TOO_LOW: Reason = "scale_too_low";

/// What Prometheus takes for zero where the sender does not tell.
const ZERO_THRESHOLD: f64 = 1e-128;
/// Buckets of one sign that a point may have; SDKs send at most 160.
const MAX_SENT_BUCKETS: usize = 1 << 14;
/// Quantiles that a summary may have.
const MAX_QUANTILES: usize = 64;

/// The counts must add up; a histogram without sum or with buckets wider than Prometheus has is not taken.
pub fn read_exponential(body: &[u8]) -> Result<Read, Reason> {
    let (mut start_ns, mut time_ns, mut flags, mut count, mut sum) = (0, 0, 0, 0, None);
    let (mut scale, mut zero_count, mut zero_threshold) = (0, 0, 0.0);
    let (mut positive, mut negative): (&[u8], &[u8]) = (&[], &[]);
    for field in fields(body).flatten() {
        match field.number {
            point::START_TIME => start_ns = field.value.number(),
            point::TIME => time_ns = field.value.number(),
            exponential_point::COUNT => count = field.value.number(),
            exponential_point::SUM => sum = Some(f64::from_bits(field.value.number())),
            exponential_point::SCALE => scale = zigzag(field.value.number()),
            exponential_point::ZERO_COUNT => zero_count = field.value.number(),
            exponential_point::ZERO_THRESHOLD => {
                zero_threshold = f64::from_bits(field.value.number());
            }
            exponential_point::POSITIVE => positive = field.value.bytes(),
            exponential_point::NEGATIVE => negative = field.value.bytes(),
            exponential_point::FLAGS => flags = field.value.number(),
            _ => {}
        }
    }
    if flags & NO_RECORDED_VALUE != 0 {
        return Ok(Read::NoValue { time_ns });
    }
    if scale < MIN_SCALE {
        return Err(SCALE_TOO_LOW);
    }
    let sum = sum.ok_or(NO_SUM)?;
    let positive = read_buckets(scale, positive).ok_or(INVALID_HISTOGRAM)?;
    let negative = read_buckets(scale, negative).ok_or(INVALID_HISTOGRAM)?;
    let counts = positive.counts.iter().chain(&negative.counts);
    let total = counts
        .copied()
        .try_fold(zero_count, |sum: u64, count| sum.checked_add(count));
    let zero_is_number = zero_threshold >= 0.0 && f64::is_finite(zero_threshold);
    if total != Some(count) || !sum.is_finite() || !zero_is_number {
        return Err(INVALID_HISTOGRAM);
    }
    let mut histogram = Exponential {
        scale,
        zero_threshold: if zero_threshold == 0.0 {
            ZERO_THRESHOLD
        } else {
            zero_threshold
        },
        zero_count,
        positive,
        negative,
        count,
        sum: Some(sum),
    };
    histogram.fit();
    Ok(Read::point(
        start_ns,
        time_ns,
        Value::Exponential(Box::new(histogram)),
    ))
}

fn read_buckets(scale: i32, body: &[u8]) -> Option<Buckets> {
    let (mut offset, mut counts) = (0, Vec::new());
    for field in fields(body).flatten() {
        match (field.number, field.value) {
            (exponential_point::OFFSET, value) => offset = zigzag(value.number()),
            (exponential_point::BUCKET_COUNTS, wire::Value::Bytes(mut packed)) => {
                while let Ok((count, rest)) = wire::varint(packed) {
                    counts.push(count);
                    packed = rest;
                    if counts.len() > MAX_SENT_BUCKETS {
                        return None;
                    }
                }
            }
            (exponential_point::BUCKET_COUNTS, value) => counts.push(value.number()),
            _ => {}
        }
    }
    let fits = counts.len() <= MAX_SENT_BUCKETS;
    fits.then(|| Buckets::new(scale, offset, counts)).flatten()
}

/// The `sint32` of a varint.
fn zigzag(number: u64) -> i32 {
    let number = number as u32;
    (number >> 1) as i32 ^ -((number & 1) as i32)
}

/// Quantiles must lie between 0 and 1; of one that stands twice the last value counts.
pub fn read_summary(body: &[u8]) -> Result<Read, Reason> {
    let (mut start_ns, mut time_ns, mut flags, mut count, mut sum) = (0, 0, 0, 0, 0.0);
    for field in fields(body).flatten() {
        match field.number {
            point::START_TIME => start_ns = field.value.number(),
            point::TIME => time_ns = field.value.number(),
            summary_point::COUNT => count = field.value.number(),
            summary_point::SUM => sum = f64::from_bits(field.value.number()),
            summary_point::FLAGS => flags = field.value.number(),
            _ => {}
        }
    }
    if flags & NO_RECORDED_VALUE != 0 {
        return Ok(Read::NoValue { time_ns });
    }
    let quantiles = children(body, summary_point::QUANTILES).flatten();
    let mut quantiles: Vec<(f64, f64)> = quantiles
        .take(MAX_QUANTILES + 1)
        .map(|field| read_quantile(field.value.bytes()))
        .collect();
    let inside = quantiles.iter().all(|(q, _)| (0.0..=1.0).contains(q));
    if !inside || quantiles.len() > MAX_QUANTILES || !f64::is_finite(sum) || sum < 0.0 {
        return Err(INVALID_SUMMARY);
    }
    quantiles.sort_by(|a, b| a.0.total_cmp(&b.0));
    quantiles.dedup_by(|next, last| {
        let same = next.0 == last.0;
        if same {
            last.1 = next.1;
        }
        same
    });
    let summary = Summary {
        quantiles,
        count,
        sum,
    };
    Ok(Read::point(
        start_ns,
        time_ns,
        Value::Summary(Box::new(summary)),
    ))
}

fn read_quantile(body: &[u8]) -> (f64, f64) {
    let double = |number| f64::from_bits(crate::otlp::number(body, number));
    (
        double(summary_point::QUANTILE) + 0.0, // no -0
        double(summary_point::VALUE),
    )
}
