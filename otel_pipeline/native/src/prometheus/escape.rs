//! Label texts taken apart again, on the way out; names in UTF-8 for a scraper that cannot read them: underscores.
//! Source: Prometheus "Escaping schemes", `underscores`.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::names::escaped_label;

/// The text of a label set with names that every Prometheus reads. Names that become the same share a label.
pub fn escaped_labels(labels: &str) -> Cow<'_, str> {
    if !labels.starts_with('"') && !labels.contains(",\"") {
        return Cow::Borrowed(labels);
    }
    let mut escaped: BTreeMap<Cow<'_, str>, Cow<'_, str>> = BTreeMap::new();
    for (name, value) in pairs(labels) {
        escaped
            .entry(escaped_label(name))
            .and_modify(|held| *held = Cow::Owned(format!("{held};{value}")))
            .or_insert(Cow::Borrowed(value));
    }
    let pairs = escaped
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""));
    Cow::Owned(pairs.collect::<Vec<_>>().join(","))
}

/// Names and values of a label text, both as they are written: `unescaped` gives what they mean.
pub fn pairs(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = labels;
    std::iter::from_fn(move || {
        let (name, value, after) = next_label(rest)?;
        rest = after;
        Some((name, value))
    })
}

/// Name, value (as it is written) and what follows the first label of a text.
fn next_label(labels: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = match labels.strip_prefix('"') {
        Some(quoted) => quoted_end(quoted).map(|(name, rest)| (name, rest.strip_prefix('=')))?,
        None => labels
            .split_once('=')
            .map(|(name, rest)| (name, Some(rest)))?,
    };
    let (value, after) = quoted_end(rest?.strip_prefix('"')?)?;
    Some((name, value, after.strip_prefix(',').unwrap_or(after)))
}

/// Splits after the first quote that is not escaped.
fn quoted_end(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    None
}

/// A name or value as it was before `push_escaped`.
pub fn unescaped(written: &str) -> Cow<'_, str> {
    if !written.contains('\\') {
        return Cow::Borrowed(written);
    }
    let mut plain = String::with_capacity(written.len());
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => {}
            },
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}
