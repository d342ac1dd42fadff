//! Walks a request and counts what it finds: resources, scopes, items and, everywhere, attributes.
#![forbid(unsafe_code)]

use super::finding::{IDS, Id, Level, worst};
use super::plan::{Index, Registry};
use super::subject::{Expects, Kind, Subject};
use super::tables::{
    Cells, Fault, Key, NOTHING, Names, OTHER_TEXT, Place, SAMPLES, Sample, SignalType, Symbol,
};
use super::value::{Type, type_of};
use crate::enrich::value::{LowCardinality, is_low_cardinality};
use crate::otlp::{
    AnyValue, ITEMS, RESOURCE, RESOURCE_ATTRIBUTES, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, Signal,
    children, exemplar, histogram_point, is_data, key_value, log, metric, number, number_point,
    scope, span, text,
};
use crate::rows::point_attributes;
use crate::wire::{Value, fields};

const MAX_NAME_BYTES: usize = 256;
/// `ScopeSpans.schema_url` and its twins.
const SCHEMA_URL: u32 = 3;
/// `Link.attributes`, `LogRecord.body`, `ExponentialHistogramDataPoint.exemplars`.
const LINK_ATTRIBUTES: u32 = 4;
const LOG_BODY: u32 = 5;
const EXPONENTIAL_EXEMPLARS: u32 = 11;

/// How many texts and findings are told apart.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Unknown attributes, metrics and events, of each.
    pub names: usize,
    /// Names of signals, services, scopes, units and values together.
    pub texts: usize,
    pub cells: usize,
}

pub struct Checker {
    pub registry: Registry,
    pub names: Names,
    pub cells: Cells,
    pub samples: [u64; SAMPLES.len()],
    pub by_id: [u64; IDS],
    /// Samples by their worst finding, in the order of `Level::ALL`.
    pub worst: [u64; Level::ALL.len()],
    pub clean: u64,
    limits: Limits,
    /// How many attributes, metrics and events were learned.
    learned: [usize; 3],
    /// The subjects for all above the limit.
    others: [u32; 3],
    here: Here,
}

/// What is around the attribute that is looked at.
#[derive(Clone, Copy)]
struct Here {
    signal_type: SignalType,
    signal_name: Symbol,
    service: Symbol,
    scope: Symbol,
    stamp: u64,
}

impl Checker {
    pub fn new(mut registry: Registry, limits: Limits) -> Self {
        let others = [
            registry.unknown_attribute(OTHER_TEXT),
            Subject::unknown_metric(OTHER_TEXT),
            Subject::unknown_event(OTHER_TEXT),
        ];
        let others = others.map(|mut other| {
            other.fixed.truncate(1);
            registry.push(other)
        });
        Self {
            registry,
            names: Names::new(limits.texts),
            cells: Cells::new(limits.cells),
            samples: [0; SAMPLES.len()],
            by_id: [0; IDS],
            worst: [0; Level::ALL.len()],
            clean: 0,
            limits,
            learned: [0; 3],
            others,
            here: Here {
                signal_type: SignalType::Resource,
                signal_name: NOTHING,
                service: NOTHING,
                scope: NOTHING,
                stamp: 0,
            },
        }
    }

    /// Takes in one checked request.
    pub fn update(&mut self, signal: Signal, message: &[u8]) {
        for resource_items in children(message, RESOURCE_ITEMS).flatten() {
            self.resource_items(signal, resource_items.value.bytes());
        }
    }

    fn resource_items(&mut self, signal: Signal, message: &[u8]) {
        self.here.service = NOTHING;
        if let Some(resource) = children(message, RESOURCE).flatten().next() {
            self.resource(resource.value.bytes());
        }
        for scope_items in children(message, SCOPE_ITEMS).flatten() {
            let scope_items = scope_items.value.bytes();
            self.scope(scope_items);
            for item in children(scope_items, ITEMS).flatten() {
                let item = item.value.bytes();
                match signal {
                    Signal::Traces => self.span(item),
                    Signal::Metrics => self.metric(item),
                    Signal::Logs => self.log(item),
                }
            }
        }
    }

    fn resource(&mut self, message: &[u8]) {
        let service = crate::otlp::attributes(message, RESOURCE_ATTRIBUTES)
            .find(|(key, _)| *key == b"service.name");
        if let Some((_, value)) = service {
            if let AnyValue::Str(name) = AnyValue::parse(value) {
                self.here.service = self.names.intern(name);
            }
        }
        self.here.scope = NOTHING;
        self.signal(SignalType::Resource, NOTHING);
        self.sample(Sample::Resource, None);
        self.attributes(message, RESOURCE_ATTRIBUTES, Sample::Resource);
    }

    fn scope(&mut self, scope_items: &[u8]) {
        self.here.scope = NOTHING;
        let found = children(scope_items, SCOPE).flatten().next();
        let has_schema = || {
            let mut schema = children(scope_items, SCHEMA_URL).flatten();
            schema.any(|field| !field.value.bytes().is_empty())
        };
        let message = match found {
            Some(field) => field.value.bytes(),
            None if has_schema() => &[],
            None => return,
        };
        let names = children(message, scope::NAME).flatten();
        let name = names.last().map_or("", |field| text(field.value.bytes()));
        self.here.scope = self.names.intern(name);
        self.signal(SignalType::Scope, NOTHING);
        self.sample(Sample::InstrumentationScope, None);
        self.attributes(message, scope::ATTRIBUTES, Sample::InstrumentationScope);
    }

    fn span(&mut self, message: &[u8]) {
        let names = children(message, span::NAME).flatten();
        let name = names.last().map_or("", |field| text(field.value.bytes()));
        let name = self.names.intern(name);
        self.signal(SignalType::Span, name);
        self.sample(Sample::Span, None);
        for field in fields(message).flatten() {
            let Value::Bytes(body) = field.value else {
                continue;
            };
            match field.number {
                span::ATTRIBUTES => self.attribute(body, Sample::Span),
                span::EVENTS => {
                    self.sample(Sample::SpanEvent, None);
                    self.attributes(body, span::EVENT_ATTRIBUTES, Sample::SpanEvent);
                }
                span::LINKS => {
                    self.sample(Sample::SpanLink, None);
                    self.attributes(body, LINK_ATTRIBUTES, Sample::SpanLink);
                }
                _ => {}
            }
        }
    }

    // --- metrics

    fn metric(&mut self, message: &[u8]) {
        let (mut name, mut unit, mut data): (&[u8], &[u8], _) = (&[], &[], None);
        for field in fields(message).flatten() {
            match (field.number, field.value) {
                (metric::NAME, Value::Bytes(bytes)) => name = bytes,
                (metric::UNIT, Value::Bytes(bytes)) => unit = bytes,
                (kind, Value::Bytes(bytes)) if is_data(kind) => data = Some((kind, bytes)),
                _ => {}
            }
        }
        let subject = self.subject(Kind::Metric, name);
        let symbol = self.names.intern(text(name));
        self.signal(SignalType::Metric, symbol);
        let mut level = self.occurrence(subject, Sample::Metric);
        if self.is_registered(subject) {
            level = level.max(self.instrument(subject, instrument(data)));
            level = level.max(self.unit(subject, text(unit)));
        }
        self.sample(Sample::Metric, level);
        if let Some((kind, data)) = data.filter(|(kind, _)| *kind != metric::SUMMARY) {
            for point in children(data, metric::DATA_POINTS).flatten() {
                self.point(subject, kind, point.value.bytes());
            }
        }
    }

    fn instrument(&mut self, subject: u32, found: &'static str) -> Option<Level> {
        if self.registry.subjects[subject as usize].instrument == found {
            return None;
        }
        let fault = Fault::Instrument(found);
        self.fault(Id::UnexpectedInstrument, subject, fault, Sample::Metric)
    }

    fn unit(&mut self, subject: u32, found: &str) -> Option<Level> {
        if self.registry.subjects[subject as usize].unit == found {
            return None;
        }
        let fault = Fault::Unit(self.names.intern(found));
        self.fault(Id::UnitMismatch, subject, fault, Sample::Metric)
    }

    fn point(&mut self, subject: u32, kind: u32, message: &[u8]) {
        let exemplars = match kind {
            metric::HISTOGRAM => histogram_point::EXEMPLARS,
            metric::EXPONENTIAL_HISTOGRAM => EXPONENTIAL_EXEMPLARS,
            _ => number_point::EXEMPLARS,
        };
        self.here.stamp += 1;
        self.attributes(message, point_attributes(kind), Sample::DataPoint);
        let level = self.absent(subject, Sample::DataPoint);
        self.sample(Sample::DataPoint, level);
        for exemplar in children(message, exemplars).flatten() {
            self.sample(Sample::Exemplar, None);
            let body = exemplar.value.bytes();
            self.attributes(body, exemplar::FILTERED_ATTRIBUTES, Sample::Exemplar);
        }
    }

    // --- logs

    fn log(&mut self, message: &[u8]) {
        let subject = self.event(message);
        let name = subject.map_or("", |index| &self.registry.subjects[index as usize].name);
        let name = self.names.intern(name);
        self.signal(SignalType::Log, name);
        self.here.stamp += 1;
        self.attributes(message, log::ATTRIBUTES, Sample::Log);
        let mut level = None;
        if let Some(subject) = subject {
            level = self.occurrence(subject, Sample::Log);
            level = level.max(self.absent(subject, Sample::Log));
        }
        self.sample(Sample::Log, level);
    }

    /// The event that a record is: by its attribute `event.name`, its field, or its body, whichever the registry has;
    /// else by its field or that attribute. What a body says is never taken for a name that is not known.
    fn event(&mut self, message: &[u8]) -> Option<u32> {
        let (mut attribute, mut name, mut body) = ("", "", "");
        for field in fields(message).flatten() {
            match (field.number, field.value) {
                (log::ATTRIBUTES, Value::Bytes(bytes)) => {
                    let (key, value) = key_value(bytes);
                    if key == b"event.name" {
                        attribute = plain_text(value);
                    }
                }
                (log::EVENT_NAME, Value::Bytes(bytes)) => name = text(bytes),
                (LOG_BODY, Value::Bytes(bytes)) => body = plain_text(bytes),
                _ => {}
            }
        }
        let registered = |text: &str| {
            let index = self.registry.events.get(text.as_bytes()).copied();
            index.filter(|index| self.is_registered(*index))
        };
        let known = [attribute, name, body].into_iter().find_map(registered);
        match (known, [name, attribute].iter().find(|one| !one.is_empty())) {
            (Some(index), _) => Some(index),
            (None, Some(name)) => Some(self.subject(Kind::Event, name.as_bytes())),
            (None, None) => None,
        }
    }

    // --- attributes

    fn attributes(&mut self, message: &[u8], number: u32, sample: Sample) {
        for field in fields(message).flatten() {
            if let (true, Value::Bytes(body)) = (field.number == number, field.value) {
                self.attribute(body, sample);
            }
        }
    }

    fn attribute(&mut self, body: &[u8], holder: Sample) {
        let (key, value) = key_value(body);
        let subject = self.subject(Kind::Attribute, key);
        self.stamp(subject);
        let mut level = self.occurrence(subject, holder);
        let known = &self.registry.subjects[subject as usize];
        if !matches!(known.expects, Expects::Unknown) {
            let value = AnyValue::parse(value);
            if let Some(found) = type_of(value) {
                level = level.max(self.value(subject, found, value, holder));
            }
        }
        self.sample(Sample::Attribute, level);
    }

    fn stamp(&mut self, subject: u32) {
        let stamp = self.here.stamp;
        let subject = &mut self.registry.subjects[subject as usize];
        subject.stamp = stamp;
        if !subject.templates.is_empty() {
            for template in subject.templates.clone() {
                self.registry.subjects[template as usize].stamp = stamp;
            }
        }
    }

    fn value(
        &mut self,
        subject: u32,
        found: Type,
        value: AnyValue<'_>,
        holder: Sample,
    ) -> Option<Level> {
        let known = &self.registry.subjects[subject as usize];
        let (content, mut number) = (known.content, None);
        let undefined = match (&known.expects, value) {
            (Expects::Unknown, _) => return None,
            (Expects::Type(expected), _) if found.fits(*expected) => return None,
            (Expects::Enum(texts, _), AnyValue::Str(text)) => {
                if texts.contains(text.as_bytes()) {
                    return None;
                }
                text
            }
            (Expects::Enum(_, numbers), AnyValue::Int(int)) => {
                if numbers.contains(&int) {
                    return None;
                }
                number.insert(int.to_string())
            }
            _ => return self.fault(Id::TypeMismatch, subject, Fault::Type(found), holder),
        };
        let shown = !content && is_low_cardinality(undefined, LowCardinality::Identifier);
        let symbol = self.names.intern(if shown { undefined } else { "" });
        let fault = Fault::Value(symbol);
        self.fault(Id::UndefinedEnumVariant, subject, fault, holder)
    }

    // --- counting

    fn signal(&mut self, signal_type: SignalType, name: Symbol) {
        self.here.signal_type = signal_type;
        self.here.signal_name = name;
    }

    /// The subject of a name; learned, or that of all others, where the registry has none.
    fn subject(&mut self, kind: Kind, name: &[u8]) -> u32 {
        let index = match kind {
            Kind::Attribute => &self.registry.attributes,
            Kind::Metric => &self.registry.metrics,
            Kind::Event => &self.registry.events,
        };
        match index.get(name) {
            Some(subject) => *subject,
            None => self.learn(kind, name),
        }
    }

    #[cold]
    fn learn(&mut self, kind: Kind, name: &[u8]) -> u32 {
        let slot = kind as usize;
        if self.learned[slot] >= self.limits.names || name.len() > MAX_NAME_BYTES {
            return self.others[slot];
        }
        self.learned[slot] += 1;
        let text = text(name);
        let subject = match kind {
            Kind::Attribute => self.registry.unknown_attribute(text),
            Kind::Metric => Subject::unknown_metric(text),
            Kind::Event => Subject::unknown_event(text),
        };
        let subject = self.registry.push(subject);
        let index: &mut Index = match kind {
            Kind::Attribute => &mut self.registry.attributes,
            Kind::Metric => &mut self.registry.metrics,
            Kind::Event => &mut self.registry.events,
        };
        index.insert(name.into(), subject);
        subject
    }

    fn is_registered(&self, subject: u32) -> bool {
        (subject as usize) < self.others[0] as usize
    }

    /// Counts a subject and what is told of its every occurrence.
    #[inline]
    fn occurrence(&mut self, subject: u32, sample: Sample) -> Option<Level> {
        let found = &mut self.registry.subjects[subject as usize];
        found.count += 1;
        let level = worst(&found.fixed)?;
        for told in &found.fixed {
            self.by_id[told.id as usize] += 1;
        }
        self.cell(subject, Fault::Fixed, sample);
        Some(level)
    }

    fn fault(&mut self, id: Id, subject: u32, fault: Fault, sample: Sample) -> Option<Level> {
        self.by_id[id as usize] += 1;
        self.cell(subject, fault, sample);
        Some(id.level())
    }

    /// Counts the references of a metric or event that the item lacks.
    fn absent(&mut self, subject: u32, sample: Sample) -> Option<Level> {
        let mut level = None;
        for place in 0..self.registry.subjects[subject as usize].references.len() {
            let reference = &self.registry.subjects[subject as usize].references[place];
            let id = reference.told.id;
            let stamp = self.registry.subjects[reference.attribute as usize].stamp;
            if stamp != self.here.stamp {
                level = level.max(self.fault(id, subject, Fault::Absent(place as u32), sample));
            }
        }
        level
    }

    #[inline]
    fn cell(&mut self, subject: u32, fault: Fault, sample: Sample) {
        let here = self.here;
        let key = Key {
            signal_type: here.signal_type,
            signal_name: here.signal_name,
            subject,
            fault,
        };
        let place = Place {
            service: here.service,
            scope: here.scope,
            sample,
        };
        self.cells.add(key, place);
    }

    /// Counts a sample by the worst that was found of it.
    #[inline]
    fn sample(&mut self, sample: Sample, level: Option<Level>) {
        self.samples[sample as usize] += 1;
        match level {
            Some(level) => self.worst[level as usize] += 1,
            None => self.clean += 1,
        }
    }
}

/// The text of an AnyValue message; empty for other values.
fn plain_text(value: &[u8]) -> &str {
    match AnyValue::parse(value) {
        AnyValue::Str(text) => text,
        _ => "",
    }
}

/// The instrument that a metric's data came from, as Weaver tells it.
fn instrument(data: Option<(u32, &[u8])>) -> &'static str {
    match data {
        Some((metric::SUM, data)) if number(data, metric::MONOTONIC) != 0 => "counter",
        Some((metric::SUM, _)) => "updowncounter",
        Some((metric::GAUGE, _)) => "gauge",
        Some((metric::HISTOGRAM | metric::EXPONENTIAL_HISTOGRAM, _)) => "histogram",
        Some((metric::SUMMARY, _)) => "Summary",
        _ => "Unspecified",
    }
}
