//! Attribute values as label texts and as numbers.
#![forbid(unsafe_code)]

use std::fmt::Write;

use base64::Engine;

use super::intern::{Interner, MAX_VALUE_BYTES, Symbol};
use crate::otlp::{AnyValue, key_value, text};
use crate::wire::fields;

/// Longer texts are no numbers.
const MAX_NUMBER_BYTES: usize = 64;

/// The number in a value: an int, a double, or text that is one, as senders write some of them. None for all else, and
/// for what is not finite.
pub fn number(value: AnyValue<'_>) -> Option<f64> {
    let number = match value {
        AnyValue::Int(number) => number as f64,
        AnyValue::Double(number) => number,
        AnyValue::Str(text) => number_in(text)?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// The number that a text is.
pub fn number_in(text: &str) -> Option<f64> {
    let number: f64 = match text.len() {
        ..=MAX_NUMBER_BYTES => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// The symbol of a value's label text.
pub fn symbol_of(value: AnyValue<'_>, interner: &mut Interner) -> Symbol {
    match value {
        AnyValue::Str(text) => interner.intern(text),
        other => interner.intern(&label_text(other)),
    }
}

/// A value as label text: what is not text is written as JSON. Source: "Mapping arbitrary data to OTLP AnyValue",
/// compatibility/prometheus_and_openmetrics.md. Only as much is written as a label keeps.
pub fn label_text(value: AnyValue<'_>) -> String {
    let mut out = String::new();
    match value {
        AnyValue::Str(text) => out.push_str(text),
        AnyValue::Bytes(bytes) => out.push_str(&base64_text(bytes)),
        other => write_json(other, &mut out, 0),
    }
    out
}

const MAX_JSON_DEPTH: usize = 8;

fn write_json(value: AnyValue<'_>, out: &mut String, depth: usize) {
    if depth > MAX_JSON_DEPTH || out.len() > MAX_VALUE_BYTES {
        return;
    }
    match value {
        AnyValue::Empty => out.push_str(if depth == 0 { "" } else { "null" }),
        AnyValue::Str(text) => write_json_text(text, out),
        AnyValue::Bytes(bytes) => write_json_text(&base64_text(bytes), out),
        AnyValue::Bool(value) => _ = write!(out, "{value}"),
        AnyValue::Int(value) => _ = write!(out, "{value}"),
        AnyValue::Double(value) => _ = write!(out, "{value}"),
        AnyValue::Array(body) => write_members(body, out, ['[', ']'], |member, out| {
            write_json(AnyValue::parse(member), out, depth + 1);
        }),
        AnyValue::Kvlist(body) => write_members(body, out, ['{', '}'], |member, out| {
            let (key, value) = key_value(member);
            write_json_text(text(key), out);
            out.push(':');
            write_json(AnyValue::parse(value), out, depth + 1);
        }),
    }
}

/// Writes the members of an ArrayValue or KeyValueList body, as far as a label keeps them.
fn write_members(
    body: &[u8],
    out: &mut String,
    around: [char; 2],
    mut write: impl FnMut(&[u8], &mut String),
) {
    out.push(around[0]);
    for (index, member) in fields(body).flatten().enumerate() {
        if out.len() > MAX_VALUE_BYTES {
            break;
        }
        if index > 0 {
            out.push(',');
        }
        write(member.value.bytes(), out);
    }
    out.push(around[1]);
}

fn write_json_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn base64_text(bytes: &[u8]) -> String {
    let kept = &bytes[..bytes.len().min(MAX_VALUE_BYTES)];
    base64::engine::general_purpose::STANDARD.encode(kept)
}
