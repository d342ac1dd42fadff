//! What a page says, line by line: samples, exemplars and the metadata of families.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Names and values of labels, as on the page.
pub type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// How many samples or lines were refused, by reason.
pub type Refused = BTreeMap<&'static str, u64>;

/// What OTLP receivers take of a key, of a value and of an item; a page gets no more.
pub const MAX_NAME_BYTES: usize = 256;
pub const MAX_VALUE_BYTES: usize = 65536;
pub const MAX_LABELS: usize = 128;
/// A longer line is refused before anyone looks inside.
pub const MAX_LINE_BYTES: usize = 1 << 18;

#[derive(Debug, Default)]
pub struct Sample<'a> {
    pub name: Cow<'a, str>,
    pub labels: Labels<'a>,
    pub value: f64,
    /// Unix nanoseconds.
    pub time_ns: Option<u64>,
    /// Unix nanoseconds; 0 where the sample itself does not say.
    pub created_ns: u64,
    pub exemplars: Vec<Exemplar>,
    /// Instead of a value.
    pub native: Option<Box<Native>>,
}

/// A native histogram, its buckets as they are in OTLP.
#[derive(Debug, Default)]
pub struct Native {
    pub scale: i32,
    pub zero_threshold: f64,
    pub zero_count: u64,
    pub positive: Buckets,
    pub negative: Buckets,
    pub count: u64,
    pub sum: f64,
}

/// Counts of neighbouring buckets, from the index of the first on.
#[derive(Debug, Default)]
pub struct Buckets {
    pub offset: i32,
    pub counts: Vec<u64>,
}

#[derive(Debug, Clone)]
pub struct Exemplar {
    pub labels: Vec<(String, String)>,
    pub value: f64,
    /// Unix nanoseconds; 0 where it has none.
    pub time_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// A histogram whose buckets grow by a constant factor.
    Native,
    Summary,
    /// Info and state set.
    State,
    #[default]
    Unknown,
}

impl Kind {
    pub fn parse(name: &str) -> Self {
        match name {
            "counter" => Self::Counter,
            "gauge" | "gaugehistogram" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            "info" | "stateset" => Self::State,
            _ => Self::Unknown,
        }
    }

    /// Whether its points count from a start on.
    pub fn is_cumulative(self) -> bool {
        matches!(
            self,
            Self::Counter | Self::Histogram | Self::Native | Self::Summary
        )
    }
}

#[derive(Debug, Clone, Default)]
pub struct Meta {
    pub kind: Kind,
    pub help: String,
    pub unit: String,
}

/// Unix nanoseconds of seconds; None for what no clock says. Whole seconds stay exact.
pub fn nanoseconds(seconds: f64) -> Option<u64> {
    let is_time = seconds > 0.0 && seconds < 9.2e9;
    let rest = (seconds.fract() * 1e9).round() as u64;
    is_time.then_some(seconds.trunc() as u64 * 1_000_000_000 + rest)
}
