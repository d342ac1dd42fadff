//! Attributes, metrics and events: what the registry says of them, and what is told whenever they are seen.
#![forbid(unsafe_code)]

use super::finding::{Id, Told};
use super::plan::{DeprecatedSpec, SignalSpec};
use super::value::Type;
use crate::aggregate::hash::Seeded;

pub type HashSet<T> = std::collections::HashSet<T, Seeded>;

/// What values an attribute may have.
#[derive(Debug, Clone)]
pub enum Expects {
    /// Not in the registry.
    Unknown,
    Type(Type),
    /// The texts and the numbers of the members.
    Enum(HashSet<Box<[u8]>>, HashSet<i64>),
}

/// Which attribute a metric's point or an event should have.
#[derive(Debug, Clone)]
pub struct Reference {
    /// A subject.
    pub attribute: u32,
    pub told: Told,
}

/// Which table of the statistics counts a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Registry,
    /// As the template it was made by: a subject.
    Template(u32),
    /// Also what the registry calls deprecated.
    NonRegistry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Attribute,
    Metric,
    Event,
}

#[derive(Debug, Clone)]
pub struct Subject {
    pub kind: Kind,
    pub name: Box<str>,
    pub seen: Seen,
    pub count: u64,
    /// What is told of every occurrence.
    pub fixed: Vec<Told>,
    /// Of an attribute.
    pub expects: Expects,
    /// Of an attribute: its values are never shown.
    pub content: bool,
    /// Of an attribute: the templates that its name begins with.
    pub templates: Vec<u32>,
    /// Of an attribute: the item in which it was seen last.
    pub stamp: u64,
    /// Of a metric.
    pub instrument: String,
    pub unit: String,
    /// Of a metric or event.
    pub references: Vec<Reference>,
}

impl Subject {
    pub fn new(kind: Kind, name: &str, seen: Seen, fixed: Vec<Told>) -> Self {
        Self {
            kind,
            name: name.into(),
            seen,
            count: 0,
            fixed,
            expects: Expects::Unknown,
            content: false,
            templates: Vec::new(),
            stamp: 0,
            instrument: String::new(),
            unit: String::new(),
            references: Vec::new(),
        }
    }

    /// A metric or event of the registry.
    pub fn signal(kind: Kind, spec: &SignalSpec) -> Self {
        let (what, context) = match kind {
            Kind::Metric => ("Metric", "metric_name"),
            _ => ("Event", "event_name"),
        };
        let mut fixed = Vec::new();
        lifecycle(
            &mut fixed,
            (what, context),
            &spec.name,
            spec.deprecated.as_ref(),
            &spec.stability,
        );
        if kind == Kind::Metric {
            fixed.extend(metric_name_format(&spec.name));
        }
        let seen = match spec.deprecated {
            Some(_) => Seen::NonRegistry,
            None => Seen::Registry,
        };
        Self {
            instrument: spec.instrument.clone(),
            unit: spec.unit.clone(),
            ..Self::new(kind, &spec.name, seen, fixed)
        }
    }

    /// A metric that the registry does not have.
    pub fn unknown_metric(name: &str) -> Self {
        let message = "Metric does not exist in the registry.".to_owned();
        let mut fixed = vec![Told::new(Id::MissingMetric, message, Vec::new())];
        fixed.extend(metric_name_format(name));
        Self::new(Kind::Metric, name, Seen::NonRegistry, fixed)
    }

    /// An event that the registry does not have.
    pub fn unknown_event(name: &str) -> Self {
        let message = format!("Event '{name}' does not exist in the registry.");
        let fixed = vec![Told::new(Id::MissingEvent, message, Vec::new())];
        Self::new(Kind::Event, name, Seen::NonRegistry, fixed)
    }
}

/// Tells that something is deprecated or not stable; `what` is its word in sentences and in contexts.
pub fn lifecycle(
    told: &mut Vec<Told>,
    what: (&str, &'static str),
    name: &str,
    deprecated: Option<&DeprecatedSpec>,
    stability: &str,
) {
    if let Some(DeprecatedSpec { reason, note }) = deprecated {
        told.push(Told::new(
            Id::Deprecated,
            format!(
                "{} '{name}' is deprecated; reason = '{reason}', note = '{note}'.",
                what.0
            ),
            vec![
                (what.1, name.to_owned()),
                ("deprecation_reason", reason.clone()),
                ("deprecation_note", note.clone()),
            ],
        ));
    }
    if !stability.is_empty() && stability != "stable" {
        told.push(Told::new(
            Id::NotStable,
            format!(
                "{} '{name}' is not stable; stability = {stability}.",
                what.0
            ),
            vec![
                (what.1, name.to_owned()),
                ("stability", stability.to_owned()),
            ],
        ));
    }
}

fn metric_name_format(name: &str) -> Option<Told> {
    let message = format!("Metric name '{name}' does not match name formatting rules.");
    let context = vec![("metric_name", name.to_owned())];
    (!is_well_formed(name)).then(|| Told::new(Id::InvalidFormat, message, context))
}

/// `^[a-z][a-z0-9]*([._][a-z0-9]+)*$`
pub fn is_well_formed(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .split(['.', '_'])
            .all(|part| !part.is_empty() && part.bytes().all(plain))
}
