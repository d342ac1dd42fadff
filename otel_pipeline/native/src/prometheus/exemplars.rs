//! Reads exemplars. Source: opentelemetry-proto `metrics.proto`; OpenMetrics 1.0, "Exemplars".
#![forbid(unsafe_code)]

use super::labels::{attribute_text, push_escaped};
use super::names::escaped_label;
use super::series::Exemplar;
use crate::otlp::{AnyValue, attributes, exemplar, text};
use crate::wire::fields;

/// Characters that the labels of one exemplar may have together, names included.
const MAX_EXEMPLAR_CHARS: usize = 128;

/// Reads an exemplar; None where it says nothing that leads anywhere: no trace and no attribute, or no value.
///
/// Whatever the strategy for names: OpenMetrics 1.0 has no quotes around those of an exemplar.
pub fn read_exemplar(body: &[u8]) -> Option<Exemplar> {
    let (mut time_ns, mut value) = (0, None);
    let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
    for field in fields(body).flatten() {
        match field.number {
            exemplar::TIME => time_ns = field.value.number(),
            exemplar::DOUBLE => value = Some(f64::from_bits(field.value.number())),
            exemplar::INT => value = Some(field.value.number() as i64 as f64),
            exemplar::TRACE_ID => trace_id = field.value.bytes(),
            exemplar::SPAN_ID => span_id = field.value.bytes(),
            _ => {}
        }
    }
    let value = value.filter(|value| value.is_finite())?;
    let mut labels = ExemplarLabels::default();
    if is_id(trace_id, 16) {
        labels.add("trace_id", &hex(trace_id));
        if is_id(span_id, 8) {
            labels.add("span_id", &hex(span_id));
        }
    }
    for (key, value) in attributes(body, exemplar::FILTERED_ATTRIBUTES) {
        let value = attribute_text(AnyValue::parse(value));
        labels.add(&escaped_label(text(key)), &value);
    }
    labels.finish().map(|text| Exemplar {
        time_ns,
        value,
        text,
    })
}

/// Labels in the order they came, each name once, as long as they fit.
#[derive(Default)]
struct ExemplarLabels {
    names: Vec<String>,
    text: String,
    chars: usize,
}

impl ExemplarLabels {
    fn add(&mut self, name: &str, value: &str) {
        let chars = self.chars + name.chars().count() + value.chars().count();
        let taken = self.names.iter().any(|held| held == name);
        if taken || value.is_empty() || chars > MAX_EXEMPLAR_CHARS {
            return;
        }
        self.chars = chars;
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(name);
        self.text.push_str("=\"");
        push_escaped(&mut self.text, value);
        self.text.push('"');
        self.names.push(name.to_owned());
    }

    fn finish(self) -> Option<Box<str>> {
        (!self.text.is_empty()).then(|| self.text.into())
    }
}

fn is_id(bytes: &[u8], length: usize) -> bool {
    bytes.len() == length && bytes.iter().any(|byte| *byte != 0)
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
