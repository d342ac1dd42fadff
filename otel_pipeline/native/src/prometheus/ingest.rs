//! From a metrics batch to the series store.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::family::{Family, Kept, Refused};
use super::labels::{Label, LabelSet, attribute, attribute_text, push_label};
use super::names::FamilyName;
use super::points::{self, HistogramReader, Read};
use super::series::{Exemplar, Kind, Reason};
use super::store::Store;
use crate::otlp::{
    AnyValue, Context, RESOURCE_ATTRIBUTES, attributes, child, for_each_item, histogram_point,
    is_data, number_point,
};
use crate::otlp::{metric, scope, text};
use crate::wire::{Value, fields};

pub const DELTA_TEMPORALITY: Reason = "delta_temporality";
pub const EXPONENTIAL_HISTOGRAM: Reason = "exponential_histogram";
pub const INVALID_NAME: Reason = "invalid_name";
pub const SUMMARY: Reason = "summary";
pub const UNSPECIFIED_TEMPORALITY: Reason = "unspecified_temporality";

/// Noted, but nothing was dropped.
pub mod note {
    use super::Reason;

    pub const EXEMPLAR_DROPPED: Reason = "exemplar_dropped";
    pub const HELP_CONFLICT: Reason = "help_conflict";
    pub const LABEL_VALUE_TRUNCATED: Reason = "label_value_truncated";
    pub const OVERFLOW: Reason = "overflow";
    pub const TARGET_LIMIT: Reason = "target_limit";
}

/// What became of the points of a batch: `kept` and `dropped` together are all of them.
#[derive(Debug, Default)]
pub struct Report {
    pub kept: u64,
    pub dropped: BTreeMap<Reason, u64>,
    pub notes: BTreeMap<Reason, u64>,
}

/// `AggregationTemporality`.
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// Attributes of a resource that become `job` and `instance`.
const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";
const IDENTIFYING: [&str; 3] = [SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE];

/// No field: Prometheus has no exemplars on gauges.
const NO_EXEMPLARS: u32 = 0;

/// Ingests a checked ExportMetricsServiceRequest.
pub fn ingest(store: &Store, request: &[u8], now_ns: u64) -> Report {
    let mut pass = Pass {
        store,
        now_ns,
        report: Report::default(),
        resource: Vec::new(),
        own: Vec::new(),
        labels: String::new(),
        histograms: HistogramReader::default(),
    };
    for_each_item(request, |context, body| {
        pass.enter(context);
        pass.metric(body);
    });
    pass.report
}

struct Pass<'s> {
    store: &'s Store,
    now_ns: u64,
    report: Report,
    /// Labels of every point of this resource.
    resource: Vec<Label>,
    /// Those and the labels of the scope.
    own: Vec<Label>,
    /// The text of the labels of the current point.
    labels: String,
    histograms: HistogramReader,
}

/// One kind of data point: where its parts stand and how its value is read.
struct Shape {
    kind: Kind,
    attributes: u32,
    exemplars: u32,
}

/// One metric below its scope.
struct Header<'a> {
    name: FamilyName,
    help: &'a str,
    shape: Shape,
}

impl Pass<'_> {
    fn enter(&mut self, context: &Context<'_>) {
        if context.new_resource {
            self.resource = self.store.options.const_labels.clone();
            self.enter_resource(context.resource);
        }
        if context.new_resource || context.new_scope {
            self.own.clone_from(&self.resource);
            if !self.store.options.without_scope_info {
                self.enter_scope(context.scope);
            }
        }
    }

    /// `job` and `instance` and a target, for a resource that says which service it is.
    fn enter_resource(&mut self, resource: &[u8]) {
        let service = attribute(resource, RESOURCE_ATTRIBUTES, SERVICE_NAME);
        if service.is_empty() {
            return;
        }
        let namespace = attribute(resource, RESOURCE_ATTRIBUTES, SERVICE_NAMESPACE);
        let job = if namespace.is_empty() {
            service
        } else {
            format!("{namespace}/{service}")
        };
        let instance = attribute(resource, RESOURCE_ATTRIBUTES, SERVICE_INSTANCE);
        self.resource.push(("job".to_owned(), job));
        self.resource.push(("instance".to_owned(), instance));
        self.set_target(resource);
    }

    fn set_target(&mut self, resource: &[u8]) {
        let mut key = String::new();
        for (name, value) in &self.resource {
            push_label(&mut key, name, value);
        }
        let mut set = LabelSet::new(&self.resource, &self.store.names);
        for (attribute, value) in attributes(resource, RESOURCE_ATTRIBUTES) {
            let attribute = text(attribute);
            if !IDENTIFYING.contains(&attribute) {
                set.add(attribute, value);
            }
        }
        let cut = set.write(&mut self.labels);
        self.note(note::LABEL_VALUE_TRUNCATED, cut);
        let held = self.store.set_target(&key, &self.labels, self.now_ns);
        self.note(note::TARGET_LIMIT, !held);
    }

    /// `otel_scope_name`, `otel_scope_version` and `otel_scope_<attribute>`, for a scope that has a name.
    fn enter_scope(&mut self, body: &[u8]) {
        let name = text(child(body, scope::NAME));
        if name.is_empty() {
            return;
        }
        let version = text(child(body, scope::VERSION));
        self.own.push(("otel_scope_name".into(), name.into()));
        self.own.push(("otel_scope_version".into(), version.into()));
        for (key, value) in attributes(body, scope::ATTRIBUTES) {
            let key = format!("otel_scope_{}", text(key));
            let label = self.store.names.label(&key).into_owned();
            if !self.own.iter().any(|own| own.0 == label) {
                let value = attribute_text(AnyValue::parse(value)).into_owned();
                self.own.push((label, value));
            }
        }
    }

    fn metric(&mut self, body: &[u8]) {
        for data in fields(body).flatten() {
            let Value::Bytes(points) = data.value else {
                continue;
            };
            if !is_data(data.number) {
                continue;
            }
            match self.header(body, data.number, points) {
                Ok(header) => self.points(&header, points),
                Err(reason) => {
                    let lost = each_point(points).count() as u64;
                    self.drop(reason, lost);
                }
            }
        }
    }

    fn header<'a>(&self, body: &'a [u8], data: u32, points: &[u8]) -> Result<Header<'a>, Reason> {
        let shape = shape(data, points)?;
        let name = self.store.names.metric(
            text(child(body, metric::NAME)),
            text(child(body, metric::UNIT)),
            shape.kind,
        );
        Ok(Header {
            name: name.ok_or(INVALID_NAME)?,
            help: text(child(body, metric::DESCRIPTION)),
            shape,
        })
    }

    fn points(&mut self, header: &Header<'_>, points: &[u8]) {
        let mut family = None;
        for point in each_point(points) {
            match self.point(header, &mut family, point) {
                Ok(kept) => {
                    self.report.kept += 1;
                    self.note(note::OVERFLOW, kept == Kept::InOverflow);
                }
                Err(reason) => self.drop(reason, 1),
            }
        }
        if let Some(family) = family {
            let other = !header.help.is_empty() && header.help != family.help;
            self.note(note::HELP_CONFLICT, other);
        }
    }

    fn point(
        &mut self,
        header: &Header<'_>,
        family: &mut Option<Arc<Family>>,
        body: &[u8],
    ) -> Result<Kept, Reason> {
        let shape = &header.shape;
        let mut read = match shape.kind {
            Kind::Histogram => self.histograms.read(body)?,
            kind => points::read_number(body, kind)?,
        };
        read.set_missing_time(self.now_ns);
        let mut set = LabelSet::new(&self.own, &self.store.names);
        for (key, value) in attributes(body, shape.attributes) {
            set.add(text(key), value);
        }
        let cut = set.write(&mut self.labels);
        self.note(note::LABEL_VALUE_TRUNCATED, cut);
        let (room, names) = (&self.store.room, &self.store.names);
        loop {
            let Some(target) = self.family(header, family, &read)? else {
                return Ok(Kept::InSeries);
            };
            let mut lost = false;
            let answer = target.update(room, &self.labels, read, self.now_ns, || {
                exemplars(body, shape.exemplars, names, &mut lost)
            });
            self.note(note::EXEMPLAR_DROPPED, lost);
            match answer {
                Ok(kept) => return Ok(kept),
                Err(Refused::Because(reason)) => return Err(reason),
                Err(Refused::Gone(unread)) => read = unread,
            }
            *family = None;
        }
    }

    /// The family of this metric, looked up once; None where a series that does not exist has no value.
    fn family(
        &self,
        header: &Header<'_>,
        held: &mut Option<Arc<Family>>,
        read: &Read,
    ) -> Result<Option<Arc<Family>>, Reason> {
        if held.is_none() {
            let FamilyName { name, unit } = &header.name;
            *held = match read {
                Read::NoValue { .. } => self.store.existing(name, header.shape.kind),
                Read::Point(_) => {
                    Some(
                        self.store
                            .family(name, header.shape.kind, unit, header.help)?,
                    )
                }
            };
        }
        Ok(held.clone())
    }

    fn drop(&mut self, reason: Reason, points: u64) {
        *self.report.dropped.entry(reason).or_default() += points;
    }

    fn note(&mut self, reason: Reason, noted: bool) {
        if noted {
            *self.report.notes.entry(reason).or_default() += 1;
        }
    }
}

/// What a data field of a Metric holds, or why it is not taken.
fn shape(data: u32, points: &[u8]) -> Result<Shape, Reason> {
    match data {
        metric::GAUGE => Ok(number_shape(Kind::Gauge)),
        metric::SUM => {
            cumulative(points)?;
            let kind = match flag(points, metric::MONOTONIC) {
                0 => Kind::Gauge,
                _ => Kind::Counter,
            };
            Ok(number_shape(kind))
        }
        metric::HISTOGRAM => {
            cumulative(points)?;
            Ok(Shape {
                kind: Kind::Histogram,
                attributes: histogram_point::ATTRIBUTES,
                exemplars: histogram_point::EXEMPLARS,
            })
        }
        metric::EXPONENTIAL_HISTOGRAM => Err(EXPONENTIAL_HISTOGRAM),
        _ => Err(SUMMARY),
    }
}

fn number_shape(kind: Kind) -> Shape {
    Shape {
        kind,
        attributes: number_point::ATTRIBUTES,
        exemplars: match kind {
            Kind::Counter => number_point::EXEMPLARS,
            _ => NO_EXEMPLARS,
        },
    }
}

fn cumulative(points: &[u8]) -> Result<(), Reason> {
    match flag(points, metric::TEMPORALITY) {
        CUMULATIVE => Ok(()),
        DELTA => Err(DELTA_TEMPORALITY),
        _ => Err(UNSPECIFIED_TEMPORALITY),
    }
}

/// A scalar field of a Sum or Histogram; the last one counts.
fn flag(points: &[u8], number: u32) -> u64 {
    fields(points)
        .flatten()
        .filter(|field| field.number == number)
        .last()
        .map_or(0, |field| field.value.number())
}

fn each_point(points: &[u8]) -> impl Iterator<Item = &[u8]> {
    crate::otlp::children(points, metric::DATA_POINTS)
        .flatten()
        .map(|field| field.value.bytes())
}

fn exemplars(
    point: &[u8],
    number: u32,
    names: &super::names::Names,
    lost: &mut bool,
) -> Vec<Exemplar> {
    let read = |field: crate::wire::Field<'_>| {
        let exemplar = points::read_exemplar(field.value.bytes(), names);
        *lost |= exemplar.is_none();
        exemplar
    };
    crate::otlp::children(point, number)
        .flatten()
        .filter_map(read)
        .collect()
}
