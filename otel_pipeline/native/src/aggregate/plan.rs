//! The aggregation plan: which metrics are made, of which items, with which labels. Python writes it, once for each set
//! of semantic-convention files; `_native.pyi` documents its shape.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Deserialize;

use super::select::SelectorSpec;
use super::usage::rules::UsagePlan;
use crate::enrich::value::DomainSpec;

/// What the JSON text of a plan says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub metrics: Vec<MetricPlan>,
    /// Without it every span is counted when it arrives.
    #[serde(default)]
    pub late_binding: Option<LateBinding>,
    /// What exemplars carry besides trace and span id; at most `MAX_EXEMPLAR_ATTRIBUTES`.
    #[serde(default)]
    pub exemplar_attributes: Vec<LabelPlan>,
    /// Series for each metric, the overflow series included; 0 = no limit.
    #[serde(default)]
    pub cardinality_limit: usize,
    /// Series without a measurement for so long are forgotten; 0 = never.
    #[serde(default)]
    pub series_expiration_ns: u64,
    /// Tokens and cost, each request once.
    #[serde(default)]
    pub usage: Option<UsagePlan>,
}

pub const MAX_EXEMPLAR_ATTRIBUTES: usize = 2;

/// Derivations from one kind of item (spans, log records, data points) are kept as a set of bits.
pub const MAX_DERIVATIONS: usize = 128;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricPlan {
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub unit: String,
    pub instrument: Instrument,
    #[serde(default)]
    pub buckets: Vec<f64>,
    pub labels: Vec<LabelPlan>,
    /// Exemplars of one data point; 0 = none.
    #[serde(default)]
    pub max_exemplars: usize,
    /// Where its observations come from.
    #[serde(default)]
    pub derivations: Vec<DerivationPlan>,
    /// Series that are always there.
    #[serde(default)]
    pub constants: Vec<ConstantPlan>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instrument {
    Counter,
    UpDownCounter,
    Gauge,
    Histogram,
    /// No metric: observations for `take_rows`.
    Rows,
}

/// One way in which a metric gets observations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DerivationPlan {
    pub source: Source,
    /// Decided when the item arrives.
    #[serde(default)]
    pub selector: Option<SelectorSpec>,
    /// Attributes and the texts one of which each must have, decided when the item is counted.
    #[serde(default)]
    pub late: Vec<(String, Vec<String>)>,
    pub value: Measure,
    #[serde(default = "one")]
    pub scale: f64,
    #[serde(default)]
    pub states: Option<States>,
    /// Where labels (by index) come from, if not from where the metric says.
    #[serde(default)]
    pub labels: BTreeMap<usize, LabelOverride>,
    /// Data points that are counted are not passed on.
    #[serde(default)]
    pub takes: bool,
}

fn one() -> f64 {
    1.0
}

/// The items that a derivation counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Every span, when it arrives.
    All,
    /// Stage runs.
    StageRuns,
    /// Spans that are not stage runs.
    Spans,
    /// Failed spans without a failed child.
    Errors,
    /// Stage runs and other spans.
    AllSpans,
    /// Log records.
    Events,
    /// Data points of OTLP metrics.
    Points,
    /// Model requests, each once: see `usage`.
    Usage,
}

/// What is looked at, one by one; for usage the earlier one is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    Span,
    /// A log record.
    Event,
    /// A data point.
    Point,
}

impl Source {
    /// None for what is gathered from items of several kinds.
    pub fn item(self) -> Option<Item> {
        match self {
            Self::Events => Some(Item::Event),
            Self::Points => Some(Item::Point),
            Self::Usage => None,
            _ => Some(Item::Span),
        }
    }

    pub fn is_span(self) -> bool {
        self.item() == Some(Item::Span)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    One,
    /// Of a span, in the metric's unit.
    Duration,
    /// What a data point says.
    Point,
    Tokens,
    Cost,
    /// The number in the first of these attributes that is there.
    Attributes(Vec<String>),
}

/// A data point's number as a word: of the series that differ in `label` one is 1, the others are 0.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct States {
    pub label: usize,
    pub values: Vec<(f64, String)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelPlan {
    pub name: String,
    pub from: LabelSource,
    /// The value where the item has none; without it the label is left out.
    #[serde(default)]
    pub default: Option<String>,
    /// What becomes of values; without it they stay.
    #[serde(default)]
    pub domain: Option<DomainSpec>,
    /// Words for numbers, and the greatest number for each (None: any), ascending.
    #[serde(default)]
    pub buckets: Vec<(String, Option<f64>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// Attributes in order of preference: of the item, else of its scope, else of its resource.
    Attributes(Vec<String>),
    Field(SpanField),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanField {
    SpanName,
    SpanKind,
    StatusCode,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelOverride {
    Value(String),
    Attributes(Vec<String>),
    /// The value of this metric in the same resource.
    Metric(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstantPlan {
    /// In the order of the metric's labels.
    pub labels: Vec<String>,
    pub value: f64,
}

/// How spans wait for the rest of their trace; the attributes are named here, and only here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateBinding {
    pub stage: String,
    pub model: String,
    pub outcome: String,
    pub stage_run: String,
    /// True on spans that are neither runs nor operations, and that what is below them looks through.
    pub noise: String,
    /// Attributes that a span takes from its nearest ancestor that has them.
    pub inherited: Vec<String>,
    /// Outcomes of spans that name none, by status; the second is what makes an error.
    pub success: String,
    pub failure: String,
    pub decision_wait_ns: u64,
    pub max_wait_ns: u64,
    pub max_spans: usize,
}

impl Plan {
    /// Reads a plan; the error says what is wrong with it.
    pub fn parse(json: &str) -> Result<Self, String> {
        let plan: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if plan.exemplar_attributes.len() > MAX_EXEMPLAR_ATTRIBUTES {
            return Err(format!(
                "more than {MAX_EXEMPLAR_ATTRIBUTES} exemplar attributes"
            ));
        }
        let late = plan.late_binding.is_some();
        for metric in &plan.metrics {
            let checked = metric.check(late);
            checked.map_err(|error| format!("{}: {error}", metric.name))?;
        }
        for source in [Source::AllSpans, Source::Events, Source::Points] {
            let alike = |one: &&DerivationPlan| one.source.item() == source.item();
            if plan.derivations().filter(alike).count() > MAX_DERIVATIONS {
                return Err(format!(
                    "more than {MAX_DERIVATIONS} derivations from {source:?}"
                ));
            }
        }
        Ok(plan)
    }

    /// Of all metrics.
    pub fn derivations(&self) -> impl Iterator<Item = &DerivationPlan> {
        self.metrics.iter().flat_map(|metric| &metric.derivations)
    }
}

impl MetricPlan {
    fn check(&self, late: bool) -> Result<(), String> {
        let ascending = self.buckets.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || self.buckets.iter().any(|bound| !bound.is_finite()) {
            return Err("buckets must be finite and ascend".to_owned());
        }
        let constants = self.constants.iter();
        if constants
            .clone()
            .any(|one| one.labels.len() != self.labels.len())
        {
            return Err("a constant needs a text for each label".to_owned());
        }
        if !self.constants.is_empty() && self.instrument != Instrument::Gauge {
            return Err("constants are gauges".to_owned());
        }
        let mut derivations = self.derivations.iter();
        derivations.try_for_each(|derivation| self.check_derivation(derivation, late))
    }

    fn check_derivation(&self, derivation: &DerivationPlan, late: bool) -> Result<(), String> {
        let source = derivation.source;
        let waits = source.is_span() && source != Source::All;
        if (waits && !late) || (source == Source::All && late) {
            return Err(format!("source {source:?} does not fit late_binding"));
        }
        let fits = match derivation.value {
            Measure::One => source != Source::Usage,
            Measure::Attributes(_) => !matches!(source, Source::Usage | Source::Points),
            Measure::Duration => source.is_span(),
            Measure::Point => source == Source::Points,
            Measure::Tokens | Measure::Cost => source == Source::Usage,
        };
        if !fits {
            return Err(format!(
                "value {:?} does not fit source {source:?}",
                derivation.value
            ));
        }
        if derivation.value == Measure::Duration && self.nanoseconds_per_unit().is_none() {
            return Err(format!("no time unit: {:?}", self.unit));
        }
        if !derivation.scale.is_finite() || derivation.scale <= 0.0 {
            return Err(format!("scale {} is not above 0", derivation.scale));
        }
        let states = derivation.states.as_ref();
        if states.is_some() && (self.instrument, source) != (Instrument::Gauge, Source::Points) {
            return Err("states are for gauges from data points".to_owned());
        }
        let mut indexes = derivation
            .labels
            .keys()
            .chain(states.map(|states| &states.label));
        if indexes.any(|index| *index >= self.labels.len()) {
            return Err("no such label".to_owned());
        }
        Ok(())
    }

    /// Whether every observation is 1, so that the sums are whole numbers.
    pub fn counts_ones(&self) -> bool {
        let is_one = |one: &DerivationPlan| {
            one.value == Measure::One && one.scale == 1.0 && one.source != Source::Points
        };
        self.instrument == Instrument::Counter && self.derivations.iter().all(is_one)
    }

    /// Nanoseconds in the metric's unit, where that is one of time.
    pub fn nanoseconds_per_unit(&self) -> Option<f64> {
        match self.unit.as_str() {
            "ns" => Some(1.0),
            "us" => Some(1e3),
            "ms" => Some(1e6),
            "s" => Some(1e9),
            "min" => Some(60e9),
            "h" => Some(3600e9),
            _ => None,
        }
    }
}
