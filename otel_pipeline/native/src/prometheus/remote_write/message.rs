//! What the two versions of the message have in common: series of labels, samples, exemplars and native histograms.
#![forbid(unsafe_code)]

use crate::prometheus::exponential::{Buckets, Exponential};
use crate::wire::{
    put_fixed64_field, put_message, put_tag, put_varint, put_varint_field, varint_len, zigzag,
};

/// The value of a series that has none from now on. Source: Remote-Write 2.0, "Samples and Histogram Samples".
pub const STALE: u64 = 0x7ff0_0000_0000_0002;

/// `MetricType`, the same numbers in both versions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    #[default]
    Unknown = 0,
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
    Summary = 5,
    Info = 6,
    StateSet = 7,
}

/// What is said of a metric once.
#[derive(Debug, Default, Clone, Copy)]
pub struct Meta<'a> {
    pub name: &'a str,
    pub help: &'a str,
    pub unit: &'a str,
    pub kind: Type,
}

#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub time_ms: u64,
    /// 0 where it is not known.
    pub start_ms: u64,
}

pub struct Exemplar<L> {
    /// Sorted by name.
    pub labels: Vec<L>,
    pub value: f64,
    pub time_ms: u64,
}

pub enum Sample<'a> {
    /// The bits of a double.
    Float(u64),
    /// None where the series has no value from now on.
    Native(Option<&'a Exponential>),
}

/// One version of the message while it is written.
pub trait Message {
    /// A label as it is written, or what stands for it.
    type Label: Clone;

    fn label(&mut self, name: &str, value: &str) -> Self::Label;
    /// Begins a metric; what follows belongs to it.
    fn metric(&mut self, meta: &Meta<'_>, metadata: bool);
    /// `labels` are sorted by name.
    fn series<'l>(
        &mut self,
        labels: impl Iterator<Item = &'l Self::Label>,
        sample: &Sample<'_>,
        times: Times,
        exemplars: &[Exemplar<Self::Label>],
    ) where
        Self::Label: 'l;
    fn size(&self) -> usize;
    fn finish(self) -> Vec<u8>;
}

/// `Sample`, whose start is told by version 2 only.
pub fn put_sample(out: &mut Vec<u8>, number: u32, bits: u64, time_ms: u64, start_ms: u64) {
    put_message(out, number, |out| {
        if bits != 0 {
            put_fixed64_field(out, 1, bits);
        }
        put_varint_field(out, 2, time_ms);
        if start_ms != 0 {
            put_varint_field(out, 3, start_ms);
        }
    });
}

/// `Histogram`, with whole counts; its start is told by version 2 only.
pub fn put_histogram(
    out: &mut Vec<u8>,
    number: u32,
    histogram: Option<&Exponential>,
    time_ms: u64,
    start_ms: u64,
) {
    put_message(out, number, |out| {
        match histogram {
            Some(histogram) => put_counts(out, histogram),
            None => {
                put_varint_field(out, 1, 0);
                put_fixed64_field(out, 3, STALE);
                put_varint_field(out, 6, 0);
            }
        }
        put_varint_field(out, 15, time_ms);
        if start_ms != 0 {
            put_varint_field(out, 17, start_ms);
        }
    });
}

fn put_counts(out: &mut Vec<u8>, histogram: &Exponential) {
    put_varint_field(out, 1, histogram.count);
    put_fixed64_field(out, 3, histogram.sum.unwrap_or(0.0).to_bits());
    put_varint_field(out, 4, zigzag(histogram.scale.into()));
    put_fixed64_field(out, 5, histogram.zero_threshold.to_bits());
    put_varint_field(out, 6, histogram.zero_count);
    put_buckets(out, [8, 9], &histogram.negative);
    put_buckets(out, [11, 12], &histogram.positive);
}

/// One `BucketSpan`, and each bucket as the difference to the one before. Prometheus counts buckets by their upper
/// bound, OpenTelemetry by their lower one.
fn put_buckets(out: &mut Vec<u8>, [spans, deltas]: [u32; 2], buckets: &Buckets) {
    if buckets.counts.is_empty() {
        return;
    }
    put_message(out, spans, |out| {
        put_varint_field(out, 1, zigzag(buckets.offset.saturating_add(1).into()));
        put_varint_field(out, 2, buckets.counts.len() as u64);
    });
    put_message(out, deltas, |out| {
        let mut last = 0u64;
        for count in &buckets.counts {
            let delta = count.wrapping_sub(last) as i64;
            put_varint(out, (delta << 1 ^ delta >> 63) as u64);
            last = *count;
        }
    });
}

/// A packed list of numbers.
pub fn put_packed(out: &mut Vec<u8>, number: u32, values: &[u32]) {
    let length: usize = values.iter().map(|one| varint_len(u64::from(*one))).sum();
    put_tag(out, number, 2);
    put_varint(out, length as u64);
    values
        .iter()
        .for_each(|one| put_varint(out, u64::from(*one)));
}
