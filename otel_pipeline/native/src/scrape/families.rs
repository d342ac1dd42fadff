//! Reads pages of delimited `io.prometheus.client.MetricFamily`, as samples of the text formats where these have them.
//! Source: prometheus/client_model `metrics.proto`.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::rc::Rc;

use super::histograms::Histogram;
use super::page::{Page, cut};
use super::role::{Part, Role};
use super::sample::{Exemplar, Kind, Labels, MAX_NAME_BYTES, Meta, Sample, nanoseconds};
use super::text::{self, Result};
use crate::wire::{Field, Value, delimited, fields};

pub const MALFORMED: &str = "malformed_family";

/// `MetricType`.
const COUNTER: u64 = 0;
const GAUGE: u64 = 1;
const SUMMARY: u64 = 2;
const HISTOGRAM: u64 = 4;
const GAUGE_HISTOGRAM: u64 = 5;

/// One `Metric`: its labels, its time, and the message of its value.
struct Series<'p> {
    labels: Labels<'p>,
    time_ns: Option<u64>,
    value: &'p [u8],
}

/// What holds for all metrics of a family.
struct Head<'p> {
    name: &'p str,
    kind: u64,
    meta: Rc<Meta>,
}

impl Page<'_> {
    /// Takes the families in. One that cannot be read costs itself; a page that is cut short is not taken at all.
    pub fn read_families(&mut self, mut page: &[u8]) -> std::result::Result<(), String> {
        while !page.is_empty() {
            let (family, rest) =
                delimited(page).map_err(|_| "the page is no list of whole metric families")?;
            page = rest;
            if let Err(reason) = self.family(family)? {
                self.refuse(reason);
            }
        }
        Ok(())
    }

    /// The outer error ends the page, the inner one the family.
    fn family(&mut self, body: &[u8]) -> std::result::Result<Result<()>, String> {
        let head = match head(body) {
            Ok(head) => head,
            Err(reason) => return Ok(Err(reason)),
        };
        for field in fields(body).flatten().filter(|field| field.number == 4) {
            if let Err(reason) = self.metric(&head, field.value.bytes()) {
                self.refuse(reason);
            }
            self.check_limit()?;
        }
        Ok(Ok(()))
    }

    fn metric(&mut self, head: &Head<'_>, body: &[u8]) -> Result<()> {
        let series = series(head.kind, body)?;
        match head.kind {
            SUMMARY => self.summary(head, series),
            HISTOGRAM | GAUGE_HISTOGRAM => self.histogram(head, series),
            _ => self.number(head, series),
        }
    }

    fn number(&mut self, head: &Head<'_>, series: Series<'_>) -> Result<()> {
        let mut sample = series.sample(head.name, "");
        for field in fields(series.value) {
            let field = field.map_err(|_| MALFORMED)?;
            match (field.number, head.kind) {
                (1, _) => sample.value = double(field),
                (2, COUNTER) => sample.exemplars.push(exemplar(field.value.bytes())?),
                (3, COUNTER) => sample.created_ns = timestamp(field.value.bytes()),
                _ => {}
            }
        }
        self.add(sample, &Role::new(&head.meta, Part::Value, "", ""));
        Ok(())
    }

    fn summary(&mut self, head: &Head<'_>, series: Series<'_>) -> Result<()> {
        let (mut count, mut sum, mut created_ns) = (0, 0.0, 0);
        for field in fields(series.value) {
            let field = field.map_err(|_| MALFORMED)?;
            match field.number {
                1 => count = field.value.number(),
                2 => sum = double(field),
                4 => created_ns = timestamp(field.value.bytes()),
                _ => {}
            }
        }
        for field in fields(series.value).flatten() {
            if field.number == 3 {
                let quantile = number(field.value.bytes(), 1);
                let mut sample = series.sample(head.name, "");
                sample.value = number(field.value.bytes(), 2);
                label(&mut sample, "quantile", quantile)?;
                self.add(sample, &Role::new(&head.meta, Part::Quantile, "", ""));
            }
        }
        self.total(head, &series, "_sum", sum, Part::Sum, created_ns);
        self.total(
            head,
            &series,
            "_count",
            count as f64,
            Part::Count,
            created_ns,
        );
        Ok(())
    }

    fn total(
        &mut self,
        head: &Head<'_>,
        series: &Series<'_>,
        suffix: &'static str,
        value: f64,
        part: Part,
        created_ns: u64,
    ) {
        let mut sample = series.sample(head.name, suffix);
        (sample.value, sample.created_ns) = (value, created_ns);
        self.add(sample, &Role::new(&head.meta, part, suffix, ""));
    }

    fn histogram(&mut self, head: &Head<'_>, series: Series<'_>) -> Result<()> {
        let histogram = Histogram::read(series.value)?;
        if head.kind == GAUGE_HISTOGRAM {
            return self.gauge_histogram(head, &series, &histogram);
        }
        if histogram.is_native() {
            let mut sample = series.sample(head.name, "");
            sample.created_ns = histogram.created_ns;
            sample.exemplars = histogram.all_exemplars()?;
            sample.native = Some(Box::new(histogram.native()?));
            let meta = Meta {
                kind: Kind::Native,
                ..Meta::clone(&head.meta)
            };
            self.add(sample, &Role::new(&Rc::new(meta), Part::Value, "", ""));
            return Ok(());
        }
        for bucket in &histogram.buckets {
            let mut sample = series.sample(head.name, "_bucket");
            sample.value = bucket_count(bucket);
            sample.exemplars = exemplars(bucket, 3)?;
            label(&mut sample, "le", number(bucket, 2))?;
            self.add(sample, &Role::new(&head.meta, Part::Bucket, "_bucket", ""));
        }
        let created_ns = histogram.created_ns;
        self.total(head, &series, "_sum", histogram.sum, Part::Sum, created_ns);
        self.total(
            head,
            &series,
            "_count",
            histogram.count,
            Part::Count,
            created_ns,
        );
        Ok(())
    }

    /// OTLP has no such thing: its parts are gauges of their own names, as on a page of OpenMetrics.
    fn gauge_histogram(
        &mut self,
        head: &Head<'_>,
        series: &Series<'_>,
        histogram: &Histogram<'_>,
    ) -> Result<()> {
        if histogram.is_native() {
            return Err("gauge_histogram");
        }
        let role = Role::new(&head.meta, Part::Value, "", "");
        for bucket in &histogram.buckets {
            let mut sample = series.sample(head.name, "_bucket");
            sample.value = bucket_count(bucket);
            label(&mut sample, "le", number(bucket, 2))?;
            self.add(sample, &role);
        }
        for (suffix, value) in [("_gcount", histogram.count), ("_gsum", histogram.sum)] {
            let mut sample = series.sample(head.name, suffix);
            sample.value = value;
            self.add(sample, &role);
        }
        Ok(())
    }
}

/// Name, type, help and unit; and a check that the rest of the message can be read.
fn head(body: &[u8]) -> Result<Head<'_>> {
    let (mut name, mut kind, mut meta) = ("", COUNTER, Meta::default());
    for field in fields(body) {
        let field = field.map_err(|_| MALFORMED)?;
        match field.number {
            1 => name = utf8(field.value.bytes())?,
            2 => meta.help = cut(utf8(field.value.bytes())?).to_owned(),
            3 => kind = field.value.number(),
            5 => meta.unit = cut(utf8(field.value.bytes())?).to_owned(),
            _ => {}
        }
    }
    if name.is_empty() {
        return Err("no_name");
    }
    if name.len() > MAX_NAME_BYTES {
        return Err("name_too_long");
    }
    meta.kind = match kind {
        COUNTER => Kind::Counter,
        GAUGE | GAUGE_HISTOGRAM => Kind::Gauge,
        SUMMARY => Kind::Summary,
        HISTOGRAM => Kind::Histogram,
        _ => Kind::Unknown,
    };
    Ok(Head {
        name,
        kind,
        meta: Rc::new(meta),
    })
}

fn series(kind: u64, body: &[u8]) -> Result<Series<'_>> {
    let (mut labels, mut time_ns, mut value) = (Labels::new(), None, None);
    let wanted = match kind {
        COUNTER => 3,
        GAUGE => 2,
        SUMMARY => 4,
        HISTOGRAM | GAUGE_HISTOGRAM => 7,
        _ => 5,
    };
    for field in fields(body) {
        let field = field.map_err(|_| MALFORMED)?;
        match field.number {
            1 => pair(field.value.bytes(), &mut labels)?,
            // A time before 1970 is none, as on a page of text.
            6 => time_ns = field.value.number().checked_mul(1_000_000),
            number if number == wanted => value = Some(field.value.bytes()),
            _ => {}
        }
    }
    Ok(Series {
        labels,
        time_ns,
        value: value.ok_or("no_value")?,
    })
}

impl<'p> Series<'p> {
    fn sample(&self, name: &'p str, suffix: &str) -> Sample<'p> {
        let name = match suffix {
            "" => Cow::Borrowed(name),
            _ => Cow::Owned(format!("{name}{suffix}")),
        };
        Sample {
            name,
            labels: self.labels.clone(),
            time_ns: self.time_ns,
            ..Sample::default()
        }
    }
}

/// The cumulative count of a classic bucket.
fn bucket_count(bucket: &[u8]) -> f64 {
    let float = number(bucket, 4);
    if float != 0.0 {
        return float;
    }
    let counts = fields(bucket).flatten().filter(|field| field.number == 1);
    counts.last().map_or(0, |field| field.value.number()) as f64
}

/// Adds a bound or quantile, as text formats have it.
fn label(sample: &mut Sample<'_>, name: &'static str, value: f64) -> Result<()> {
    let text = match value {
        f64::INFINITY => "+Inf".to_owned(),
        value => format!("{value:?}"),
    };
    text::add(Cow::Borrowed(name), Cow::Owned(text), &mut sample.labels)
}

/// The exemplars in a field of a message.
pub fn exemplars(body: &[u8], number: u32) -> Result<Vec<Exemplar>> {
    let found = fields(body)
        .flatten()
        .filter(|field| field.number == number);
    found.map(|field| exemplar(field.value.bytes())).collect()
}

/// An `Exemplar`.
pub fn exemplar(body: &[u8]) -> Result<Exemplar> {
    let (mut labels, mut value, mut time_ns) = (Labels::new(), 0.0, 0);
    for field in fields(body) {
        let field = field.map_err(|_| MALFORMED)?;
        match field.number {
            1 => pair(field.value.bytes(), &mut labels)?,
            2 => value = double(field),
            3 => time_ns = timestamp(field.value.bytes()),
            _ => {}
        }
    }
    let owned =
        |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
    Ok(Exemplar {
        labels: labels.into_iter().map(owned).collect(),
        value,
        time_ns,
    })
}

/// A `LabelPair`.
fn pair<'p>(body: &'p [u8], labels: &mut Labels<'p>) -> Result<()> {
    let (mut name, mut value) = ("", "");
    for field in fields(body) {
        let field = field.map_err(|_| MALFORMED)?;
        match field.number {
            1 => name = utf8(field.value.bytes())?,
            2 => value = utf8(field.value.bytes())?,
            _ => {}
        }
    }
    if name.is_empty() {
        return Err(MALFORMED);
    }
    text::add(Cow::Borrowed(name), Cow::Borrowed(value), labels)
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| "invalid_utf8")
}

/// Unix nanoseconds of a `google.protobuf.Timestamp`; 0 for what no clock says.
pub fn timestamp(body: &[u8]) -> u64 {
    let (mut seconds, mut nanos) = (0, 0);
    for field in fields(body).flatten() {
        match field.number {
            1 => seconds = field.value.number(),
            2 => nanos = field.value.number().min(999_999_999),
            _ => {}
        }
    }
    let whole_seconds = nanoseconds(seconds as f64).unwrap_or(0);
    match whole_seconds {
        0 => 0,
        seconds_ns => seconds_ns.saturating_add(nanos),
    }
}

/// The value of a field that is a double.
pub fn double(field: Field<'_>) -> f64 {
    match field.value {
        Value::Fixed64(bits) => f64::from_bits(bits),
        _ => 0.0,
    }
}

/// A field of a message that is a double; 0 where it is absent.
fn number(body: &[u8], number: u32) -> f64 {
    let found = fields(body)
        .flatten()
        .filter(|field| field.number == number);
    found.last().map_or(0.0, double)
}
