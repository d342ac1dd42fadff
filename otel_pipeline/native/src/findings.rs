//! What was rejected and repaired while a request was read: counters by reason, and a sentence for the sender.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::otlp::Signal;

/// Why an item was rejected, or what was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    InvalidTraceId,
    InvalidSpanId,
    InvalidParentSpanId,
    ZeroParentSpanId,
    InvalidLink,
    InvalidExemplarId,
    InvalidUtf8,
    KeyTruncated,
    ValueTruncated,
    AttributeDropped,
    TooDeep,
    LegacyInstrumentationLibrary,
}

/// In the order of `Reason`.
const NAMES: [&str; 12] = [
    "invalid_trace_id",
    "invalid_span_id",
    "invalid_parent_span_id",
    "zero_parent_span_id",
    "invalid_link",
    "invalid_exemplar_id",
    "invalid_utf8",
    "key_truncated",
    "value_truncated",
    "attribute_dropped",
    "too_deep",
    "legacy_instrumentation_library",
];

/// Occurrences by reason, and the items left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; NAMES.len()],
    pub rejected: u64,
}

impl Tally {
    pub fn add(&mut self, reason: Reason) {
        self.counts[reason as usize] += 1;
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn extend(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.rejected += other.rejected;
    }

    /// The counters that are not zero, by name.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let counts = NAMES.into_iter().zip(self.counts);
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// One sentence for `partial_success.error_message`. Empty where nothing the sender gave is missing or altered:
    /// an all-zero parent id means "no parent" and is no fault worth an answer.
    pub fn message(&self, signal: Signal) -> String {
        let mut parts = Vec::new();
        if self.rejected > 0 {
            parts.push(format!(
                "{} {} rejected",
                self.rejected,
                items(signal, self.rejected)
            ));
        }
        let mut counts = self.counts();
        counts.remove(NAMES[Reason::ZeroParentSpanId as usize]);
        if counts.remove(NAMES[Reason::LegacyInstrumentationLibrary as usize]) > Some(0) {
            parts.push(
                "instrumentation_library_* fields not read: they left OTLP with version 0.19, upgrade the sender"
                    .to_owned(),
            );
        }
        if !counts.is_empty() {
            let counts: Vec<_> = counts
                .iter()
                .map(|(name, n)| format!("{name} {n}"))
                .collect();
            parts.push(format!("by reason: {}", counts.join(", ")));
        }
        parts.join("; ")
    }
}

fn items(signal: Signal, count: u64) -> &'static str {
    match (signal, count) {
        (Signal::Traces, 1) => "span",
        (Signal::Traces, _) => "spans",
        (Signal::Metrics, 1) => "data point",
        (Signal::Metrics, _) => "data points",
        (Signal::Logs, 1) => "log record",
        (Signal::Logs, _) => "log records",
    }
}
