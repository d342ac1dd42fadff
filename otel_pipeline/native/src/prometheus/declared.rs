//! What a gauge says of itself that it is to Prometheus: `prometheus.type` in its metric's metadata.
//! Source: opentelemetry-specification "Prometheus and OpenMetrics Compatibility", "Gauges".
#![forbid(unsafe_code)]

use super::series::Kind;
use crate::otlp::{AnyValue, attributes, metric};

pub const KEY: &str = "prometheus.type";

/// The kinds by their words. The specification spells the first one `unkown` once.
const WORDS: [(&str, Kind); 4] = [
    ("unknown", Kind::Unknown),
    ("unkown", Kind::Unknown),
    ("info", Kind::Info),
    ("stateset", Kind::StateSet),
];

/// The kind of a gauge, or of a sum that is not monotonic, by the body of its Metric.
pub fn gauge_kind(body: &[u8]) -> Kind {
    let told = attributes(body, metric::METADATA).find(|(key, _)| *key == KEY.as_bytes());
    match told.map(|(_, value)| AnyValue::parse(value)) {
        Some(AnyValue::Str(word)) => {
            let known = WORDS.iter().find(|(known, _)| *known == word);
            known.map_or(Kind::Gauge, |(_, kind)| *kind)
        }
        _ => Kind::Gauge,
    }
}

/// What says it; None for what goes without saying.
pub fn word(kind: Kind) -> Option<&'static str> {
    let known = WORDS.iter().find(|(_, known)| *known == kind);
    known.map(|(word, _)| *word)
}
