//! Series out of data points: one for a number or a native histogram, one for each bucket of a classic histogram.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::message::{Exemplar, Message, Meta, STALE, Sample, Times, Type};
use super::{Options, Tally};
use crate::otlp::{
    AnyValue, attributes, children, exemplar, exponential_point, histogram_point, metric, number,
    number_point, summary_point, text,
};
use crate::prometheus::exponential::Exponential;
use crate::prometheus::labels::attribute_text;
use crate::prometheus::number::bound_text;
use crate::prometheus::points::{HistogramReader, NO_RECORDED_VALUE, Read, read_number};
use crate::prometheus::series::{Kind, Point};
use crate::prometheus::sketches::{read_exponential, read_summary};
use crate::prometheus::stream::Mode;
use crate::prometheus::value::{Bounds, Histogram, Summary, Value};
use crate::wire::fields;

const NS_PER_MS: u64 = 1_000_000;
const NAME: &str = "__name__";

/// Where the parts of a data point stand.
struct Layout {
    kind: Kind,
    attributes: u32,
    exemplars: u32,
    flags: u32,
}

pub struct Writer<'o, M: Message> {
    message: M,
    options: &'o Options,
    tally: Tally,
    reader: HistogramReader,
    /// The `le` labels of the bounds that the last histogram had.
    le: Option<(Arc<Bounds>, Vec<M::Label>)>,
    full: bool,
}

/// The names of a metric's series.
struct Names<L> {
    plain: L,
    bucket: L,
    count: L,
    sum: L,
}

/// One data point on its way out.
struct Row<'r, L> {
    names: &'r Names<L>,
    /// Sorted by name.
    labels: Vec<L>,
    /// Where among the labels the name stands, and where `le` or `quantile` would.
    name_at: usize,
    extra_at: usize,
    times: Times,
    stale: bool,
    exemplars: Vec<Exemplar<L>>,
}

impl<'o, M: Message> Writer<'o, M> {
    pub fn new(message: M, options: &'o Options) -> Self {
        Self {
            message,
            options,
            tally: Tally::default(),
            reader: HistogramReader::default(),
            le: None,
            full: false,
        }
    }

    pub fn finish(self) -> Option<(Vec<u8>, Tally)> {
        (!self.full).then(|| (self.message.finish(), self.tally))
    }

    /// Writes the points of one metric; `data` is its field `number`. The kind of `meta` is what it is if it is a gauge.
    pub fn metric(&mut self, meta: &Meta<'_>, number: u32, data: &[u8]) {
        let (layout, kind) = layout(number, data, meta.kind);
        let meta = Meta { kind, ..*meta };
        self.message.metric(&meta, self.options.metadata);
        let mut name = |suffix| self.message.label(NAME, &format!("{}{suffix}", meta.name));
        let plain = name("");
        let names = match layout.kind {
            Kind::Counter | Kind::Gauge => Names {
                bucket: plain.clone(),
                count: plain.clone(),
                sum: plain.clone(),
                plain,
            },
            _ => Names {
                bucket: name("_bucket"),
                count: name("_count"),
                sum: name("_sum"),
                plain,
            },
        };
        for point in children(data, metric::DATA_POINTS).flatten() {
            self.point(&layout, &names, point.value.bytes());
            self.full |= self.message.size() > self.options.max_bytes;
            if self.full {
                return;
            }
        }
    }

    fn point(&mut self, layout: &Layout, names: &Names<M::Label>, body: &[u8]) {
        let stale = number(body, layout.flags) & NO_RECORDED_VALUE != 0;
        let plain = if stale {
            Some(without(body, layout.flags))
        } else {
            None
        };
        let Some(point) = self.read(layout.kind, plain.as_deref().unwrap_or(body)) else {
            return;
        };
        let mut labels: Vec<(&str, &[u8])> = attributes(body, layout.attributes)
            .map(|(name, value)| (text(name), value))
            .collect();
        labels.sort_by(|a, b| a.0.cmp(b.0));
        let extra = if layout.kind == Kind::Summary {
            "quantile"
        } else {
            "le"
        };
        let row = Row {
            names,
            name_at: labels.partition_point(|(name, _)| *name < NAME),
            extra_at: labels.partition_point(|(name, _)| *name < extra),
            labels: labels
                .into_iter()
                .map(|(name, value)| self.label(name, value))
                .collect(),
            times: Times {
                time_ms: point.time_ns / NS_PER_MS,
                start_ms: point.start_ns / NS_PER_MS,
            },
            stale,
            exemplars: self.exemplars(layout, body, point.time_ns),
        };
        match point.value {
            Value::Number(value) => {
                self.put(&row, &names.plain, None, value, &row.exemplars);
            }
            Value::Histogram(histogram) => self.histogram(&row, &histogram),
            Value::Exponential(native) if self.options.native_histograms => {
                self.native(&row, &native);
            }
            Value::Exponential(exponential) => self.classic(&row, &exponential),
            Value::Summary(summary) => self.summary(&row, &summary),
        }
    }

    fn read(&mut self, kind: Kind, body: &[u8]) -> Option<Point> {
        let read = match kind {
            Kind::Histogram => self.reader.read(body),
            Kind::Exponential => read_exponential(body),
            Kind::Summary => read_summary(body),
            kind => read_number(body, kind, Mode::Latest),
        };
        match read {
            Ok(Read::Point(point)) => Some(point),
            _ => None,
        }
    }

    fn label(&mut self, name: &str, value: &[u8]) -> M::Label {
        let value = attribute_text(AnyValue::parse(value));
        self.message.label(name, &value)
    }

    /// Writes one series and its value.
    fn put(
        &mut self,
        row: &Row<'_, M::Label>,
        name: &M::Label,
        extra: Option<&M::Label>,
        value: f64,
        exemplars: &[Exemplar<M::Label>],
    ) {
        let bits = match value.is_nan() {
            _ if row.stale => STALE,
            true => f64::NAN.to_bits(), // no sender's NaN may read as STALE
            false => value.to_bits(),
        };
        let labels = row.labels(name, extra);
        let sample = Sample::Float(bits);
        self.message.series(labels, &sample, row.times, exemplars);
        self.tally.samples += 1;
        self.tally.exemplars += exemplars.len() as u64;
    }

    fn histogram(&mut self, row: &Row<'_, M::Label>, histogram: &Histogram) {
        let known = self.le.take();
        let known = known.filter(|(bounds, _)| Arc::ptr_eq(bounds, &histogram.bounds));
        let (bounds, le) = known.unwrap_or_else(|| {
            let texts = histogram.bounds.openmetrics.iter();
            let le = texts.map(|le| self.message.label("le", le)).collect();
            (Arc::clone(&histogram.bounds), le)
        });
        let (mut total, mut below) = (0u64, f64::NEG_INFINITY);
        let uppers = bounds.values.iter().copied().chain([f64::INFINITY]);
        for ((upper, le), count) in uppers.zip(&le).zip(&histogram.counts) {
            total = total.saturating_add(*count);
            self.bucket(row, le, total, below, upper);
            below = upper;
        }
        self.le = Some((bounds, le));
        self.sum_and_count(row, histogram.sum, histogram.count);
    }

    fn bucket(
        &mut self,
        row: &Row<'_, M::Label>,
        le: &M::Label,
        total: u64,
        below: f64,
        upper: f64,
    ) {
        let inside = |one: &&Exemplar<M::Label>| one.value > below && one.value <= upper;
        let exemplars: Vec<_> = row.exemplars.iter().filter(inside).cloned().collect();
        self.put(row, &row.names.bucket, Some(le), total as f64, &exemplars);
    }

    fn sum_and_count(&mut self, row: &Row<'_, M::Label>, sum: Option<f64>, count: u64) {
        if let Some(sum) = sum {
            self.put(row, &row.names.sum, None, sum, &[]);
        }
        self.put(row, &row.names.count, None, count as f64, &[]);
    }

    fn classic(&mut self, row: &Row<'_, M::Label>, exponential: &Exponential) {
        let mut below = f64::NEG_INFINITY;
        for (upper, total) in exponential.classic() {
            let le = self.message.label("le", &bound_text(upper, true));
            self.bucket(row, &le, total, below, upper);
            below = upper;
        }
        let le = self.message.label("le", "+Inf");
        self.bucket(row, &le, exponential.count, below, f64::INFINITY);
        self.sum_and_count(row, exponential.sum, exponential.count);
    }

    fn native(&mut self, row: &Row<'_, M::Label>, native: &Exponential) {
        let sample = Sample::Native((!row.stale).then_some(native));
        let labels = row.labels(&row.names.plain, None);
        self.message
            .series(labels, &sample, row.times, &row.exemplars);
        self.tally.histograms += 1;
        self.tally.exemplars += row.exemplars.len() as u64;
    }

    fn summary(&mut self, row: &Row<'_, M::Label>, summary: &Summary) {
        for (quantile, value) in &summary.quantiles {
            let quantile = self.message.label("quantile", &bound_text(*quantile, true));
            self.put(row, &row.names.plain, Some(&quantile), *value, &[]);
        }
        self.sum_and_count(row, Some(summary.sum), summary.count);
    }

    fn exemplars(&mut self, layout: &Layout, body: &[u8], time_ns: u64) -> Vec<Exemplar<M::Label>> {
        if layout.exemplars == 0 {
            return Vec::new();
        }
        let mut told: Vec<_> = children(body, layout.exemplars)
            .flatten()
            .map(|field| self.exemplar(field.value.bytes(), time_ns))
            .collect();
        told.sort_by_key(|one| one.time_ms);
        told
    }

    /// One without a time has that of its point.
    fn exemplar(&mut self, body: &[u8], time_ns: u64) -> Exemplar<M::Label> {
        let (mut time, mut value) = (0, 0.0);
        let mut labels: Vec<(String, String)> = Vec::new();
        for field in fields(body).flatten() {
            match field.number {
                exemplar::TIME => time = field.value.number(),
                exemplar::DOUBLE => value = f64::from_bits(field.value.number()),
                exemplar::INT => value = field.value.number() as i64 as f64,
                exemplar::TRACE_ID => labels.push(("trace_id".into(), hex(field.value.bytes()))),
                exemplar::SPAN_ID => labels.push(("span_id".into(), hex(field.value.bytes()))),
                _ => {}
            }
        }
        for (name, value) in attributes(body, exemplar::FILTERED_ATTRIBUTES) {
            let value = attribute_text(AnyValue::parse(value)).into_owned();
            labels.push((text(name).to_owned(), value));
        }
        labels.sort();
        let time_ns = if time == 0 { time_ns } else { time };
        Exemplar {
            labels: labels
                .iter()
                .map(|(name, value)| self.message.label(name, value))
                .collect(),
            value,
            time_ms: time_ns / NS_PER_MS,
        }
    }
}

impl<L> Row<'_, L> {
    /// All labels of a series, sorted: `__name__` is before `le` and `quantile`.
    fn labels<'l>(&'l self, name: &'l L, extra: Option<&'l L>) -> impl Iterator<Item = &'l L> {
        let (before, rest) = self.labels.split_at(self.name_at);
        let (between, after) = rest.split_at(self.extra_at - self.name_at);
        before
            .iter()
            .chain([name])
            .chain(between)
            .chain(extra)
            .chain(after)
    }
}

impl<L: Clone> Clone for Exemplar<L> {
    fn clone(&self) -> Self {
        Self {
            labels: self.labels.clone(),
            ..*self
        }
    }
}

fn layout(number: u32, data: &[u8], gauge: Type) -> (Layout, Type) {
    let simple = |kind| Layout {
        kind,
        attributes: number_point::ATTRIBUTES,
        exemplars: number_point::EXEMPLARS,
        flags: number_point::FLAGS,
    };
    match number {
        metric::SUM if crate::otlp::number(data, metric::MONOTONIC) != 0 => {
            (simple(Kind::Counter), Type::Counter)
        }
        metric::GAUGE | metric::SUM => (simple(Kind::Gauge), gauge),
        metric::HISTOGRAM => (
            Layout {
                kind: Kind::Histogram,
                attributes: histogram_point::ATTRIBUTES,
                exemplars: histogram_point::EXEMPLARS,
                flags: histogram_point::FLAGS,
            },
            Type::Histogram,
        ),
        metric::EXPONENTIAL_HISTOGRAM => (
            Layout {
                kind: Kind::Exponential,
                attributes: exponential_point::ATTRIBUTES,
                exemplars: exponential_point::EXEMPLARS,
                flags: exponential_point::FLAGS,
            },
            Type::Histogram,
        ),
        _ => (
            Layout {
                kind: Kind::Summary,
                attributes: summary_point::ATTRIBUTES,
                exemplars: 0,
                flags: summary_point::FLAGS,
            },
            Type::Summary,
        ),
    }
}

/// The message without its fields of this number.
fn without(message: &[u8], number: u32) -> Vec<u8> {
    let kept = fields(message)
        .flatten()
        .filter(|field| field.number != number);
    kept.flat_map(|field| field.raw.iter().copied()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
