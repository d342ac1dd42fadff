//! The page as `io.prometheus.client.MetricFamily` messages, each after its length: the one format in which Prometheus
//! reads native histograms. Source: prometheus/client_model `metrics.proto`; "Native Histograms", "Exposition formats".
#![forbid(unsafe_code)]

use super::escape::{pairs, unescaped};
use super::exponential::{Buckets, Exponential};
use super::page::{Head, Shown, Writer};
use super::series::{Exemplar, Kind};
use super::store::Options;
use super::value::{Histogram, Summary, Value};
use crate::wire::{
    put_bytes_field, put_fixed64_field, put_message, put_varint, put_varint_field, zigzag,
};

mod family {
    pub const NAME: u32 = 1;
    pub const HELP: u32 = 2;
    pub const TYPE: u32 = 3;
    pub const METRIC: u32 = 4;
    pub const UNIT: u32 = 5;
}

/// `MetricType`.
mod kind {
    pub const COUNTER: u64 = 0;
    pub const GAUGE: u64 = 1;
    pub const SUMMARY: u64 = 2;
    pub const UNTYPED: u64 = 3;
    pub const HISTOGRAM: u64 = 4;
}

mod metric {
    pub const LABEL: u32 = 1;
    pub const GAUGE: u32 = 2;
    pub const COUNTER: u32 = 3;
    pub const SUMMARY: u32 = 4;
    pub const UNTYPED: u32 = 5;
    pub const TIMESTAMP_MS: u32 = 6;
    pub const HISTOGRAM: u32 = 7;
}

/// `Gauge`, `Counter` and `Untyped` have their value in one place.
mod number {
    pub const VALUE: u32 = 1;
    pub const EXEMPLAR: u32 = 2;
    pub const CREATED: u32 = 3;
}

/// `Summary` and `Histogram` begin alike.
mod distribution {
    pub const COUNT: u32 = 1;
    pub const SUM: u32 = 2;
}

mod summary {
    pub const QUANTILE: u32 = 3;
    pub const CREATED: u32 = 4;
}

mod histogram {
    pub const BUCKET: u32 = 3;
    pub const SCHEMA: u32 = 5;
    pub const ZERO_THRESHOLD: u32 = 6;
    pub const ZERO_COUNT: u32 = 7;
    /// Field numbers of spans and deltas.
    pub const NEGATIVE: (u32, u32) = (9, 10);
    pub const POSITIVE: (u32, u32) = (12, 13);
    pub const CREATED: u32 = 15;
    pub const EXEMPLARS: u32 = 16;
}

mod bucket {
    pub const CUMULATIVE_COUNT: u32 = 1;
    pub const UPPER_BOUND: u32 = 2;
    pub const EXEMPLAR: u32 = 3;
}

mod exemplar {
    pub const LABEL: u32 = 1;
    pub const VALUE: u32 = 2;
    pub const TIMESTAMP: u32 = 3;
}

/// A page as it grows.
pub struct Protobuf<'s> {
    out: Vec<u8>,
    /// The family that is being written: its length stands before it.
    family: Vec<u8>,
    options: &'s Options,
}

impl<'s> Protobuf<'s> {
    /// A page that begins with `own`, a page of text 0.0.4.
    pub fn new(options: &'s Options, own: &[u8], capacity: usize) -> Self {
        let mut page = Self {
            out: Vec::with_capacity(capacity + own.len()),
            family: Vec::new(),
            options,
        };
        page.own(&String::from_utf8_lossy(own));
        page
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn head(&mut self, name: &str, help: &str, kind: u64, unit: &str) {
        let out = &mut self.family;
        put_bytes_field(out, family::NAME, name.as_bytes());
        if !help.is_empty() {
            put_bytes_field(out, family::HELP, help.as_bytes());
        }
        put_varint_field(out, family::TYPE, kind);
        if !unit.is_empty() {
            put_bytes_field(out, family::UNIT, unit.as_bytes());
        }
    }

    /// The families of a text page. Samples that are not named as their family stand for themselves: histograms, of
    /// which the gateway's own page has none.
    fn own(&mut self, page: &str) {
        let (mut name, mut kind) = ("", kind::UNTYPED);
        let mut help = ("", "");
        for line in page.lines() {
            if let Some(told) = line.strip_prefix("# HELP ") {
                help = told.split_once(' ').unwrap_or((told, ""));
                continue;
            }
            if let Some(told) = line.strip_prefix("# TYPE ") {
                self.end();
                let (typed, word) = told.split_once(' ').unwrap_or((told, ""));
                (name, kind) = (typed, kind_named(word));
                let help = Some(help.1).filter(|_| help.0 == name).unwrap_or("");
                self.head(name, &unescaped(help), kind, "");
                continue;
            }
            let Some((sample, labels, value)) = sample(line) else {
                continue;
            };
            if sample != name {
                self.end();
                (name, kind) = (sample, kind::UNTYPED);
                self.head(name, "", kind, "");
            }
            put_message(&mut self.family, family::METRIC, |out| {
                put_labels(out, metric::LABEL, labels);
                put_message(out, number_field(kind), |out| {
                    put_double(out, number::VALUE, value);
                });
            });
        }
        self.end();
    }
}

impl Writer for Protobuf<'_> {
    fn begin(&mut self, head: &Head<'_>) {
        let family = head.family;
        let kind = match family.kind {
            Kind::Counter => kind::COUNTER,
            Kind::Gauge | Kind::Info | Kind::StateSet => kind::GAUGE,
            Kind::Unknown => kind::UNTYPED,
            Kind::Histogram | Kind::Exponential => kind::HISTOGRAM,
            Kind::Summary => kind::SUMMARY,
        };
        let name = format!("{}{}", head.name, family.suffix);
        self.head(&name, &family.help, kind, &family.unit);
    }

    fn series(&mut self, shown: &Shown<'_>) {
        let options = self.options;
        let created = shown.start_ns().filter(|_| options.created_timestamps);
        put_message(&mut self.family, family::METRIC, |out| {
            put_labels(out, metric::LABEL, shown.labels);
            match &shown.series.point.value {
                Value::Number(value) => put_number(out, shown, *value, created),
                Value::Histogram(histogram) => put_message(out, metric::HISTOGRAM, |out| {
                    put_classic(out, shown, histogram);
                    put_time(out, histogram::CREATED, created);
                }),
                Value::Exponential(exponential) => put_message(out, metric::HISTOGRAM, |out| {
                    put_exponential(out, shown, exponential);
                    put_time(out, histogram::CREATED, created);
                }),
                Value::Summary(summary) => put_message(out, metric::SUMMARY, |out| {
                    put_summary(out, shown, summary);
                    put_time(out, summary::CREATED, created);
                }),
            }
            if options.send_timestamps {
                put_varint_field(out, metric::TIMESTAMP_MS, shown.time_ns() / 1_000_000);
            }
        });
    }

    fn begin_targets(&mut self) {
        self.head("target_info", "Target metadata", kind::GAUGE, "");
    }

    fn target(&mut self, labels: &str) {
        put_message(&mut self.family, family::METRIC, |out| {
            put_labels(out, metric::LABEL, labels);
            put_message(out, metric::GAUGE, |out| {
                put_double(out, number::VALUE, 1.0);
            });
        });
    }

    fn end(&mut self) {
        if !self.family.is_empty() {
            put_varint(&mut self.out, self.family.len() as u64);
            self.out.append(&mut self.family);
        }
    }
}

fn kind_named(word: &str) -> u64 {
    match word {
        "counter" => kind::COUNTER,
        "gauge" => kind::GAUGE,
        _ => kind::UNTYPED,
    }
}

fn number_field(kind: u64) -> u32 {
    match kind {
        kind::COUNTER => metric::COUNTER,
        kind::GAUGE => metric::GAUGE,
        _ => metric::UNTYPED,
    }
}

/// Name, labels and value of a line of text 0.0.4.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    Some((name, labels, value.parse().ok()?))
}

fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_fixed64_field(out, number, value.to_bits());
}

fn put_labels(out: &mut Vec<u8>, number: u32, labels: &str) {
    for (name, value) in pairs(labels) {
        put_message(out, number, |out| {
            put_bytes_field(out, 1, unescaped(name).as_bytes());
            put_bytes_field(out, 2, unescaped(value).as_bytes());
        });
    }
}

/// A `google.protobuf.Timestamp`.
fn put_time(out: &mut Vec<u8>, number: u32, unix_ns: Option<u64>) {
    if let Some(unix_ns) = unix_ns {
        put_message(out, number, |out| {
            put_varint_field(out, 1, unix_ns / 1_000_000_000);
            put_varint_field(out, 2, unix_ns % 1_000_000_000);
        });
    }
}

fn put_exemplar(out: &mut Vec<u8>, number: u32, exemplar: Option<&Exemplar>) {
    let Some(exemplar) = exemplar else {
        return;
    };
    put_message(out, number, |out| {
        put_labels(out, exemplar::LABEL, &exemplar.text);
        put_double(out, exemplar::VALUE, exemplar.value);
        let time_ns = Some(exemplar.time_ns).filter(|time_ns| *time_ns != 0);
        put_time(out, exemplar::TIMESTAMP, time_ns);
    });
}

fn put_number(out: &mut Vec<u8>, shown: &Shown<'_>, value: f64, created: Option<u64>) {
    let counter = shown.head.family.kind == Kind::Counter;
    let field = match shown.head.family.kind {
        Kind::Counter => metric::COUNTER,
        Kind::Unknown => metric::UNTYPED,
        _ => metric::GAUGE,
    };
    put_message(out, field, |out| {
        put_double(out, number::VALUE, shown.number(value));
        if counter {
            put_exemplar(out, number::EXEMPLAR, shown.exemplar(0));
            put_time(out, number::CREATED, created);
        }
    });
}

/// A sum that is not known is not a number: where the field is missing, a reader takes it for 0.
fn put_count_and_sum(out: &mut Vec<u8>, shown: &Shown<'_>, count: u64, sum: Option<f64>) {
    put_varint_field(out, distribution::COUNT, shown.count(count));
    let sum = sum.map_or(f64::NAN, |sum| shown.number(sum));
    put_double(out, distribution::SUM, sum);
}

fn put_bucket(out: &mut Vec<u8>, bound: f64, count: u64, exemplar: Option<&Exemplar>) {
    put_message(out, histogram::BUCKET, |out| {
        put_varint_field(out, bucket::CUMULATIVE_COUNT, count);
        put_double(out, bucket::UPPER_BOUND, bound);
        put_exemplar(out, bucket::EXEMPLAR, exemplar);
    });
}

fn put_classic(out: &mut Vec<u8>, shown: &Shown<'_>, histogram: &Histogram) {
    put_count_and_sum(out, shown, histogram.count, histogram.sum);
    let bounds = histogram.bounds.values.iter().copied();
    let bounds = bounds.chain([f64::INFINITY]);
    let mut total = 0u64;
    for (index, (bound, count)) in bounds.zip(&histogram.counts).enumerate() {
        total = total.saturating_add(*count);
        put_bucket(out, bound, shown.count(total), shown.exemplar(index));
    }
}

/// Classic buckets for a reader that knows nothing else, then what one reads that does.
fn put_exponential(out: &mut Vec<u8>, shown: &Shown<'_>, histogram: &Exponential) {
    put_count_and_sum(out, shown, histogram.count, histogram.sum);
    let mut below = f64::NEG_INFINITY;
    let last = (f64::INFINITY, histogram.count);
    for (bound, count) in histogram.classic().into_iter().chain([last]) {
        let exemplar = shown.exemplar_within(below, bound);
        put_bucket(out, bound, shown.count(count), exemplar);
        below = bound;
    }
    if !histogram.is_native() {
        return;
    }
    put_varint_field(out, histogram::SCHEMA, zigzag(histogram.scale.into()));
    put_double(out, histogram::ZERO_THRESHOLD, histogram.zero_threshold);
    let zero_count = shown.count(histogram.zero_count);
    put_varint_field(out, histogram::ZERO_COUNT, zero_count);
    if !shown.zero {
        put_spans(out, histogram::NEGATIVE, &histogram.negative);
        put_spans(out, histogram::POSITIVE, &histogram.positive);
    }
    for exemplar in shown.exemplars().filter(|one| one.time_ns != 0) {
        put_exemplar(out, histogram::EXEMPLARS, Some(exemplar));
    }
}

fn put_summary(out: &mut Vec<u8>, shown: &Shown<'_>, summary: &Summary) {
    put_count_and_sum(out, shown, summary.count, Some(summary.sum));
    for (quantile, value) in summary.quantiles.iter().filter(|_| !shown.zero) {
        put_message(out, summary::QUANTILE, |out| {
            put_double(out, 1, *quantile);
            put_double(out, 2, *value);
        });
    }
}

fn put_spans(out: &mut Vec<u8>, (spans, deltas): (u32, u32), buckets: &Buckets) {
    let (lengths, steps) = buckets.spans();
    for (skipped, length) in lengths {
        put_message(out, spans, |out| {
            put_varint_field(out, 1, zigzag(skipped.into()));
            put_varint_field(out, 2, length.into());
        });
    }
    if !steps.is_empty() {
        put_message(out, deltas, |out| {
            steps.iter().for_each(|step| put_varint(out, zigzag(*step)));
        });
    }
}
