//! The aggregation plan: which metrics are made of spans, and the slots for the label values they need.
#![forbid(unsafe_code)]

use serde::Deserialize;

/// What the JSON text of a plan says; `_native.pyi` documents it.
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
}

pub const MAX_EXEMPLAR_ATTRIBUTES: usize = 2;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricPlan {
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub unit: String,
    pub instrument: Instrument,
    pub source: Source,
    pub value: Measure,
    #[serde(default)]
    pub buckets: Vec<f64>,
    pub labels: Vec<LabelPlan>,
    /// Exemplars of one data point; 0 = none.
    #[serde(default)]
    pub max_exemplars: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instrument {
    Counter,
    Histogram,
}

/// The spans that a metric counts.
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    One,
    Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelPlan {
    pub name: String,
    pub from: LabelSource,
    /// The value where the span has none; without it the label is left out.
    #[serde(default)]
    pub default: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// An attribute of the span, else of its scope, else of its resource.
    Attribute(String),
    Field(SpanField),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanField {
    SpanName,
    SpanKind,
    StatusCode,
}

/// How spans wait for the rest of their trace; the attributes are named here, and only here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateBinding {
    pub stage: String,
    pub model: String,
    pub outcome: String,
    pub stage_run: String,
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
        for metric in &plan.metrics {
            metric.check(plan.late_binding.is_some())?;
        }
        Ok(plan)
    }
}

impl MetricPlan {
    fn check(&self, late: bool) -> Result<(), String> {
        let name = &self.name;
        let ascending = self.buckets.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || self.buckets.iter().any(|bound| !bound.is_finite()) {
            return Err(format!("{name}: buckets must be finite and ascend"));
        }
        if self.value == Measure::Duration && self.nanoseconds_per_unit().is_none() {
            return Err(format!("{name}: no time unit: {:?}", self.unit));
        }
        if late == (self.source == Source::All) {
            return Err(format!(
                "{name}: source {:?} does not fit late_binding",
                self.source
            ));
        }
        Ok(())
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

/// The label values of one span, each in its slot: all that a plan asks for, once.
#[derive(Debug, Default)]
pub struct Slots(pub Vec<LabelSource>);

impl Slots {
    /// The slot for `source`; made at the first call.
    pub fn slot(&mut self, source: &LabelSource) -> usize {
        self.0
            .iter()
            .position(|known| known == source)
            .unwrap_or_else(|| {
                self.0.push(source.clone());
                self.0.len() - 1
            })
    }

    pub fn attribute(&mut self, key: &str) -> usize {
        self.slot(&LabelSource::Attribute(key.to_owned()))
    }
}
