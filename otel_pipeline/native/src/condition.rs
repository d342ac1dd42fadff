//! Conditions over items, compiled to a plan: which spans, log records and metrics a filter drops.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::batch::Batch;
use crate::matcher::{Matcher, MatcherSpec};
use crate::otlp::{
    AnyValue, Context, RESOURCE_ATTRIBUTES, Signal, attributes, child, count_items, log, metric,
    number, points, scope, span, text,
};
use crate::rewrite::{Edit, Rewrite, rewrite};
use crate::rows::point_attributes;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct ConditionText {
    resource: BTreeMap<String, MatcherSpec>,
    attributes: BTreeMap<String, MatcherSpec>,
    scope: Option<MatcherSpec>,
    name: Option<MatcherSpec>,
    kind: Option<MatcherSpec>,
    status: Option<MatcherSpec>,
    severity: Option<MatcherSpec>,
    body: Option<MatcherSpec>,
    /// Seconds, strictly.
    duration: Option<MatcherSpec>,
}

/// All of these must hold.
struct Condition {
    resource: Vec<(Vec<u8>, Matcher)>,
    attributes: Vec<(Vec<u8>, Matcher)>,
    tests: Vec<(Part, Matcher)>,
}

#[derive(Clone, Copy)]
enum Part {
    Scope,
    Name,
    Kind,
    Status,
    Severity,
    Body,
    Duration,
}

impl Condition {
    fn compile(text: ConditionText) -> Result<Self, String> {
        let mut tests = Vec::new();
        for (part, matcher) in [
            (Part::Scope, text.scope),
            (Part::Name, text.name),
            (Part::Kind, text.kind),
            (Part::Status, text.status),
            (Part::Severity, text.severity),
            (Part::Body, text.body),
            (Part::Duration, text.duration),
        ] {
            if let Some(matcher) = matcher {
                tests.push((part, Matcher::new(matcher)?));
            }
        }
        let compile = |list: BTreeMap<String, MatcherSpec>| -> Result<Vec<_>, String> {
            list.into_iter()
                .map(|(key, matcher)| Ok((key.into_bytes(), Matcher::new(matcher)?)))
                .collect()
        };
        Ok(Self {
            resource: compile(text.resource)?,
            attributes: compile(text.attributes)?,
            tests,
        })
    }

    fn holds(&self, signal: Signal, context: &Context<'_>, item: &[u8]) -> bool {
        self.tests
            .iter()
            .all(|(part, matcher)| matcher.holds(read(*part, signal, context, item)))
            && all_hold(&self.resource, context.resource, RESOURCE_ATTRIBUTES)
            && self.attributes_hold(signal, item)
    }

    fn attributes_hold(&self, signal: Signal, item: &[u8]) -> bool {
        match signal {
            Signal::Traces => all_hold(&self.attributes, item, span::ATTRIBUTES),
            Signal::Logs => all_hold(&self.attributes, item, log::ATTRIBUTES),
            Signal::Metrics => self.attributes.is_empty() || self.some_point_holds(item),
        }
    }

    /// A metric matches by attributes where one of its data points does.
    fn some_point_holds(&self, item: &[u8]) -> bool {
        points(item).any(|(kind, point)| all_hold(&self.attributes, point, point_attributes(kind)))
    }
}

fn all_hold(matchers: &[(Vec<u8>, Matcher)], message: &[u8], number: u32) -> bool {
    matchers.iter().all(|(key, matcher)| {
        let found = attributes(message, number).find(|(name, _)| *name == key.as_slice());
        matcher.holds(found.map(|(_, body)| AnyValue::parse(body)))
    })
}

const KINDS: [&str; 6] = [
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
];
const STATUSES: [&str; 3] = ["unset", "ok", "error"];

fn word(words: &[&'static str], number: u64) -> Option<AnyValue<'static>> {
    words
        .get(usize::try_from(number).ok()?)
        .map(|word| AnyValue::Str(word))
}

fn read<'a>(
    part: Part,
    signal: Signal,
    context: &Context<'a>,
    item: &'a [u8],
) -> Option<AnyValue<'a>> {
    let name = |number| Some(AnyValue::Str(text(child(item, number))));
    match (part, signal) {
        (Part::Scope, _) => Some(AnyValue::Str(text(child(context.scope, scope::NAME)))),
        (Part::Name, Signal::Traces) => name(span::NAME),
        (Part::Name, Signal::Metrics) => name(metric::NAME),
        (Part::Name, Signal::Logs) => name(log::EVENT_NAME),
        (Part::Kind, Signal::Traces) => word(&KINDS, number(item, span::KIND)),
        (Part::Status, Signal::Traces) => word(
            &STATUSES,
            number(child(item, span::STATUS), span::STATUS_CODE),
        ),
        (Part::Severity, Signal::Logs) => Some(AnyValue::Int(number(item, 2) as i64)),
        (Part::Body, Signal::Logs) => Some(AnyValue::parse(child(item, 5))),
        (Part::Duration, Signal::Traces) => {
            let nanoseconds = number(item, span::END).saturating_sub(number(item, span::START));
            Some(AnyValue::Double(nanoseconds as f64 / 1e9))
        }
        _ => None,
    }
}

/// A list of conditions; an item for which any one of them holds is dropped.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct ConditionPlan {
    conditions: Vec<Condition>,
}

#[pymethods]
impl ConditionPlan {
    #[new]
    fn new(conditions_json: &str) -> PyResult<Self> {
        let texts: Vec<ConditionText> = serde_json::from_str(conditions_json)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let conditions = texts.into_iter().enumerate().map(|(at, text)| {
            Condition::compile(text)
                .map_err(|error| PyValueError::new_err(format!("[{at}]: {error}")))
        });
        Ok(Self {
            conditions: conditions.collect::<PyResult<_>>()?,
        })
    }
}

struct DropMatching<'p> {
    signal: Signal,
    plan: &'p ConditionPlan,
}

impl Rewrite for DropMatching<'_> {
    fn item(&mut self, context: &Context<'_>, item: &[u8], _: &mut Vec<u8>) -> Edit {
        match self
            .plan
            .conditions
            .iter()
            .any(|condition| condition.holds(self.signal, context, item))
        {
            true => Edit::Drop,
            false => Edit::Keep,
        }
    }
}

/// The batch without the items that match; the same bytes where none does.
#[pyfunction]
pub fn drop_matching(py: Python<'_>, batch: &Batch, plan: &ConditionPlan) -> Batch {
    let (signal, data) = (batch.signal, batch.bytes(py));
    let edited = py.detach(|| {
        let edited = rewrite(data, &mut DropMatching { signal, plan })?;
        let items = count_items(signal, &edited);
        Some((edited, items))
    });
    let (edited, items) = edited.map_or((None, batch.item_count()), |(edited, items)| {
        (Some(edited), items)
    });
    batch.replaced(py, edited, items)
}
