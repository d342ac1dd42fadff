//! From a metrics batch to the series store.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::conflicts::{Conflict, kind_word};
use super::declared::gauge_kind;
use super::exemplars::read_exemplar;
use super::family::{Family, Incoming, Kept, Refused};
use super::identity::Identity;
use super::labels::{Label, LabelSet, SCOPE_PREFIX, attribute, attribute_text, push_label};
use super::names::FamilyName;
use super::points::{self, HistogramReader, Read};
use super::series::{Exemplar, Kind, Reason};
use super::sketches::{read_exponential, read_summary};
use super::store::{OWN_NAME, Store, TYPE_CONFLICT};
use super::stream::{Mode, StreamId};
use crate::otlp::{
    AnyValue, Context, RESOURCE_ATTRIBUTES, SCOPE_SCHEMA_URL, attributes, child, children,
    exponential_point, for_each_item, histogram_point, is_data, number_point, summary_point,
};
use crate::otlp::{metric, scope, text};
use crate::wire::{Value, fields};

pub const INVALID_NAME: Reason = "invalid_name";
pub const UNSPECIFIED_TEMPORALITY: Reason = "unspecified_temporality";

/// Noted, but nothing was dropped.
pub mod note {
    use super::Reason;

    pub const EXEMPLAR_DROPPED: Reason = "exemplar_dropped";
    pub const FUTURE_TIME: Reason = "future_time";
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
        identity: store.identity(),
        now_ns,
        report: Report::default(),
        resource: Vec::new(),
        resource_body: &[],
        resource_id: 0,
        own: Vec::new(),
        scope_id: 0,
        scope_name: "",
        histograms: HistogramReader::default(),
    };
    for_each_item(request, |context, body| {
        pass.enter(context);
        pass.metric(body);
    });
    pass.report
}

struct Pass<'s, 'b> {
    store: &'s Store,
    identity: Identity,
    now_ns: u64,
    report: Report,
    /// Labels of every point of this resource.
    resource: Vec<Label>,
    resource_body: &'b [u8],
    resource_id: StreamId,
    /// Labels of every point of this scope.
    own: Vec<Label>,
    scope_id: StreamId,
    scope_name: &'b str,
    histograms: HistogramReader,
}

/// One kind of data point: where its parts stand and how its value is read.
struct Shape {
    kind: Kind,
    mode: Mode,
    attributes: u32,
    exemplars: u32,
}

impl Shape {
    /// A gauge is what it says. What stands for its labels or for a state is not added up.
    fn declare(&mut self, kind: Kind) {
        self.kind = kind;
        if matches!(kind, Kind::Info | Kind::StateSet) {
            self.mode = Mode::Latest;
        }
    }
}

/// One metric below its scope.
struct Header<'a> {
    id: StreamId,
    name: FamilyName,
    help: &'a str,
    shape: Shape,
}

impl<'b> Pass<'_, 'b> {
    fn enter(&mut self, context: &Context<'b>) {
        if context.new_resource {
            self.resource_body = context.resource;
            self.resource = self.store.options.const_labels.clone();
            let attributes = children(context.resource, RESOURCE_ATTRIBUTES).flatten();
            let bodies = attributes.map(|field| field.value.bytes());
            self.resource_id = self.identity.of_all(bodies);
            self.enter_resource(context.resource);
        }
        if context.new_resource || context.new_scope {
            let schema_url = child(context.scope_items, SCOPE_SCHEMA_URL);
            let parts = [context.scope, schema_url].map(|part| self.identity.of(part));
            self.scope_id = self.identity.of_parts(&parts);
            self.scope_name = text(child(context.scope, scope::NAME));
            self.own.clone_from(&self.resource);
            if !self.store.options.without_scope_info {
                self.enter_scope(context.scope, text(schema_url));
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
        self.resource.push(("job".to_owned(), job));
        if !self.store.options.choice.drops(SERVICE_INSTANCE) {
            let instance = attribute(resource, RESOURCE_ATTRIBUTES, SERVICE_INSTANCE);
            self.resource.push(("instance".to_owned(), instance));
        }
        self.set_target(resource);
    }

    fn set_target(&mut self, resource: &[u8]) {
        let mut key = String::new();
        for (name, value) in &self.resource {
            push_label(&mut key, name, value);
        }
        let options = &self.store.options;
        let mut set = LabelSet::new(&self.resource, &self.store.names, &options.choice);
        for (attribute, value) in attributes(resource, RESOURCE_ATTRIBUTES) {
            let attribute = text(attribute);
            if !IDENTIFYING.contains(&attribute) {
                set.add(attribute, value);
            }
        }
        let mut labels = String::new();
        let cut = set.write(&mut labels);
        self.note(note::LABEL_VALUE_TRUNCATED, cut);
        let held = self.store.set_target(&key, &labels, self.now_ns);
        self.note(note::TARGET_LIMIT, !held);
    }

    /// `otel_scope_name`, `_version`, `_schema_url` and `otel_scope_<attribute>`, for a scope that has a name. An
    /// attribute that would have the name of one of the first three is left out.
    fn enter_scope(&mut self, body: &[u8], schema_url: &str) {
        let name = text(child(body, scope::NAME));
        if name.is_empty() {
            return;
        }
        let version = text(child(body, scope::VERSION));
        self.own.push(("otel_scope_name".into(), name.into()));
        self.own.push(("otel_scope_version".into(), version.into()));
        self.own
            .push(("otel_scope_schema_url".into(), schema_url.into()));
        let first = self.own.len();
        let told: BTreeMap<_, _> = attributes(body, scope::ATTRIBUTES).collect();
        for (key, value) in told {
            if self.store.options.choice.drops(text(key)) {
                continue;
            }
            let key = format!("{SCOPE_PREFIX}{}", text(key));
            let label = self.store.names.label(&key).into_owned();
            let value = attribute_text(AnyValue::parse(value));
            match self
                .own
                .iter_mut()
                .enumerate()
                .find(|(_, own)| own.0 == label)
            {
                None => self.own.push((label, value.into_owned())),
                Some((at, (_, held))) if at >= first => held.extend([";", &value]),
                Some(_) => {}
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
        let mut shape = shape(data, points)?;
        if shape.kind == Kind::Gauge {
            shape.declare(gauge_kind(body));
        }
        let (name, unit) = (child(body, metric::NAME), child(body, metric::UNIT));
        let family = self.store.names.metric(text(name), text(unit), shape.kind);
        let kind = [data as u8, shape.mode as u8, shape.kind as u8];
        let [name, unit, kind] = [name, unit, &kind].map(|part| self.identity.of(part));
        let parts = [self.resource_id, self.scope_id, name, unit, kind];
        Ok(Header {
            id: self.identity.of_parts(&parts),
            name: family.ok_or(INVALID_NAME)?,
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
                    self.note(note::OVERFLOW, kept.in_overflow);
                    for noted in kept.notes.into_iter().flatten() {
                        self.note(noted, true);
                    }
                }
                Err(reason) => {
                    if reason == TYPE_CONFLICT || reason == OWN_NAME {
                        let (name, kind) = (&header.name.name, header.shape.kind);
                        self.conflict(header, reason, kind_word(kind), || {
                            self.store.holder(name, kind)
                        });
                    }
                    self.drop(reason, 1);
                }
            }
        }
        if let Some(family) = family {
            let other = !header.help.is_empty() && header.help != family.help;
            if other {
                self.conflict(header, note::HELP_CONFLICT, header.help, || {
                    family.help.clone()
                });
            }
            self.note(note::HELP_CONFLICT, other);
        }
    }

    fn read(&mut self, shape: &Shape, body: &[u8]) -> Result<Read, Reason> {
        let mut read = match shape.kind {
            Kind::Histogram => self.histograms.read(body)?,
            Kind::Exponential => read_exponential(body)?,
            Kind::Summary => read_summary(body)?,
            kind => points::read_number(body, kind, shape.mode)?,
        };
        let ahead = read.settle_time(self.now_ns);
        self.note(note::FUTURE_TIME, ahead);
        Ok(read)
    }

    fn point(
        &mut self,
        header: &Header<'_>,
        family: &mut Option<Arc<Family>>,
        body: &[u8],
    ) -> Result<Kept, Reason> {
        let shape = &header.shape;
        let mut read = self.read(shape, body)?;
        let own_attributes = children(body, shape.attributes).flatten();
        let own_attributes = own_attributes.map(|field| field.value.bytes());
        let incoming = Incoming {
            id: header.id.wrapping_add(self.identity.of_all(own_attributes)),
            mode: shape.mode,
            now_ns: self.now_ns,
        };
        let room = &self.store.room;
        loop {
            let Some(target) = self.family(header, family, &read)? else {
                return Ok(Kept::default());
            };
            let (mut lost, mut cut) = (false, false);
            let answer = target.update(
                room,
                &incoming,
                read,
                &mut || self.labels(shape, body, &mut cut),
                || exemplars(body, shape.exemplars, &mut lost),
            );
            self.note(note::EXEMPLAR_DROPPED, lost);
            self.note(note::LABEL_VALUE_TRUNCATED, cut);
            match answer {
                Ok(kept) => return Ok(kept),
                Err(Refused::Because(reason)) => return Err(reason),
                Err(Refused::Gone(unread)) => read = unread,
            }
            *family = None;
        }
    }

    /// The labels of a point: what the gateway sets, then its own attributes, then those of its resource that are chosen.
    fn labels(&self, shape: &Shape, body: &[u8], cut: &mut bool) -> String {
        let choice = &self.store.options.choice;
        let mut set = LabelSet::new(&self.own, &self.store.names, choice);
        for (key, value) in attributes(body, shape.attributes) {
            set.add(text(key), value);
        }
        for (key, value) in attributes(self.resource_body, RESOURCE_ATTRIBUTES) {
            let key = text(key);
            let service = choice.without_service && IDENTIFYING.contains(&key);
            if choice.given(key).is_some() || (choice.resource && !service) {
                set.add_outer(key, value);
            }
        }
        let mut labels = String::new();
        *cut = set.write(&mut labels);
        labels
    }

    /// The family of this metric, looked up once; None where a series that does not exist has no value.
    fn family(
        &self,
        header: &Header<'_>,
        held: &mut Option<Arc<Family>>,
        read: &Read,
    ) -> Result<Option<Arc<Family>>, Reason> {
        if held.is_none() {
            let (name, kind) = (&header.name, header.shape.kind);
            *held = match read {
                Read::NoValue { .. } => self.store.existing(&name.name, kind),
                Read::Point(_) => Some(self.store.family(name, kind, header.help)?),
            };
        }
        Ok(held.clone())
    }

    /// Notes for people what cannot have its name or help, and who says so.
    fn conflict(
        &self,
        header: &Header<'_>,
        reason: Reason,
        told: &str,
        held: impl FnOnce() -> String,
    ) {
        let job = self.resource.iter().find(|label| label.0 == "job");
        let job = job.map_or("", |label| label.1.as_str());
        let metric = header.name.name.as_str();
        let conflict = Conflict::new(metric, reason, told, job, self.scope_name);
        self.store.conflicts.note(conflict, self.now_ns, held);
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
        metric::GAUGE => Ok(number_shape(Kind::Gauge, Mode::Latest)),
        metric::SUM => {
            let kind = match flag(points, metric::MONOTONIC) {
                0 => Kind::Gauge,
                _ => Kind::Counter,
            };
            Ok(number_shape(kind, temporality(points)?))
        }
        metric::HISTOGRAM => Ok(Shape {
            kind: Kind::Histogram,
            mode: temporality(points)?,
            attributes: histogram_point::ATTRIBUTES,
            exemplars: histogram_point::EXEMPLARS,
        }),
        metric::EXPONENTIAL_HISTOGRAM => Ok(Shape {
            kind: Kind::Exponential,
            mode: temporality(points)?,
            attributes: exponential_point::ATTRIBUTES,
            exemplars: exponential_point::EXEMPLARS,
        }),
        _ => Ok(Shape {
            kind: Kind::Summary,
            mode: Mode::Cumulative,
            attributes: summary_point::ATTRIBUTES,
            exemplars: NO_EXEMPLARS,
        }),
    }
}

fn number_shape(kind: Kind, mode: Mode) -> Shape {
    Shape {
        kind,
        mode,
        attributes: number_point::ATTRIBUTES,
        exemplars: match kind {
            Kind::Counter => number_point::EXEMPLARS,
            _ => NO_EXEMPLARS,
        },
    }
}

fn temporality(points: &[u8]) -> Result<Mode, Reason> {
    match flag(points, metric::TEMPORALITY) {
        CUMULATIVE => Ok(Mode::Cumulative),
        DELTA => Ok(Mode::Delta),
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

fn exemplars(point: &[u8], number: u32, lost: &mut bool) -> Vec<Exemplar> {
    let read = |field: crate::wire::Field<'_>| {
        let exemplar = read_exemplar(field.value.bytes());
        *lost |= exemplar.is_none();
        exemplar
    };
    crate::otlp::children(point, number)
        .flatten()
        .filter_map(read)
        .collect()
}
