//! Label sets as the very text that a page prints: sorted, escaped, without the braces. That text is a series' key.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;

use super::choice::Choice;
use super::names::{Names, is_bare_label};
use super::number::go_text;
use crate::otlp::{AnyValue, attributes, text};
use crate::wire::fields;

/// Bytes that one label value may have; a longer one is cut, and told apart by a hash of the whole.
pub const MAX_VALUE_BYTES: usize = 1024;
/// What labels of the scope begin with.
pub const SCOPE_PREFIX: &str = "otel_scope_";
/// Names that mean something to Prometheus.
const RESERVED: [&str; 2] = ["le", "quantile"];
/// Deeper values end here; the decoder's own limit is the same.
const MAX_DEPTH: usize = 32;

/// A label that the gateway sets itself: legal name, raw value.
pub type Label = (String, String);

struct Entry<'a> {
    name: Cow<'a, str>,
    key: &'a str,
    value: Cow<'a, str>,
    /// Its name is given: others make room.
    given: bool,
    /// The gateway sets it.
    own: bool,
}

impl Entry<'_> {
    /// The key, which a label of the gateway's own has in its name.
    fn original(&self) -> &str {
        match self.own {
            true => &self.name,
            false => self.key,
        }
    }
}

/// Collects the labels of one point; `write` gives their text.
pub struct LabelSet<'a> {
    own: &'a [Label],
    names: &'a Names,
    choice: &'a Choice,
    entries: Vec<Entry<'a>>,
}

impl<'a> LabelSet<'a> {
    /// `own` labels always win: an attribute that would have the same name becomes `exported_<name>`. Those of the scope
    /// share their label with it, as the compatibility specification asks ("Metric Attributes").
    pub fn new(own: &'a [Label], names: &'a Names, choice: &'a Choice) -> Self {
        let mut entries = Vec::with_capacity(own.len() + 8);
        let told = own.iter().filter(|(_, value)| !value.is_empty());
        entries.extend(told.map(|(name, value)| Entry {
            name: Cow::Borrowed(name),
            key: "",
            value: Cow::Borrowed(value),
            given: true,
            own: true,
        }));
        Self {
            own,
            names,
            choice,
            entries,
        }
    }

    /// Adds one attribute, `value` being the body of its AnyValue; not one that never becomes a label.
    pub fn add(&mut self, key: &'a str, value: &'a [u8]) {
        if self.choice.drops(key) {
            return;
        }
        let given = self.choice.given(key);
        let mut name = match given {
            Some(label) => Cow::Borrowed(label),
            None => self.names.label(key),
        };
        while RESERVED.contains(&name.as_ref()) || self.is_own(&name) {
            name = Cow::Owned(format!("exported_{name}"));
        }
        self.entries.push(Entry {
            name,
            key,
            value: attribute_text(AnyValue::parse(value)),
            given: given.is_some(),
            own: false,
        });
    }

    /// Whether the gateway sets this label itself; what it says of the scope others may join.
    fn is_own(&self, name: &str) -> bool {
        !name.starts_with(SCOPE_PREFIX) && self.own.iter().any(|own| own.0 == name)
    }

    /// Adds an attribute of the resource, which one of the same key nearer to the point stands before.
    pub fn add_outer(&mut self, key: &'a str, value: &'a [u8]) {
        if !self.entries.iter().any(|entry| entry.key == key) {
            self.add(key, value);
        }
    }

    /// Where an attribute has the name of a given label: it goes if it says the same, else it is `exported_<name>`.
    fn make_room(&mut self) {
        let given: Vec<(String, String)> = self
            .entries
            .iter()
            .filter(|entry| entry.given && !entry.own)
            .map(|entry| (entry.name.to_string(), entry.value.to_string()))
            .collect();
        for (name, value) in given {
            self.entries.retain(|entry| {
                entry.given || entry.name != name.as_str() || entry.value != value.as_str()
            });
            let clashes = self.entries.iter_mut();
            for entry in clashes.filter(|entry| !entry.given && entry.name == name.as_str()) {
                entry.name = Cow::Owned(format!("exported_{name}"));
            }
        }
    }

    /// Replaces `out` by the text of the set; true where a value had to be cut.
    ///
    /// Keys that become the same name share one label, their values joined with `;` in the order of the keys. Of a key
    /// that stands twice the last value counts. An empty value is no label: Prometheus takes both for the same series.
    pub fn write(mut self, out: &mut String) -> bool {
        out.clear();
        self.make_room();
        self.entries
            .sort_by(|a, b| (&a.name, a.original()).cmp(&(&b.name, b.original())));
        let mut cut = false;
        for same_name in self.entries.chunk_by(|a, b| a.name == b.name) {
            let mut distinct = same_name
                .chunk_by(|a, b| a.key == b.key)
                .filter_map(|same_key| same_key.last());
            let Some(first) = distinct.next() else {
                continue;
            };
            let mut value = Cow::Borrowed(first.value.as_ref());
            for next in distinct {
                let joined = value.to_mut();
                joined.push(';');
                joined.push_str(&next.value);
            }
            cut |= push_label(out, &first.name, &value);
        }
        cut
    }
}

/// Appends `name="value"`, and a comma where it is not the first; true where the value had to be cut.
pub fn push_label(out: &mut String, name: &str, value: &str) -> bool {
    if value.is_empty() {
        return false;
    }
    if !out.is_empty() {
        out.push(',');
    }
    push_name(out, name);
    out.push_str("=\"");
    let cut = value.len() > MAX_VALUE_BYTES;
    push_escaped(out, &shortened(value));
    out.push('"');
    cut
}

/// A name, in quotes where it needs them. Source: Prometheus "Exposition formats", names in UTF-8.
pub fn push_name(out: &mut String, name: &str) {
    if is_bare_label(name) {
        out.push_str(name);
    } else {
        out.push('"');
        push_escaped(out, name);
        out.push('"');
    }
}

/// Escapes for a label value. Control characters would end the page for some readers (NUL does for Prometheus) and
/// reach terminals, so they are shown as U+FFFD; tab is kept.
pub fn push_escaped(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            shown if !hidden(shown) => out.push(shown),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
}

/// Characters that no page shows.
pub fn hidden(character: char) -> bool {
    character.is_control() && character != '\t' && character != '\n'
}

fn shortened(value: &str) -> Cow<'_, str> {
    if value.len() <= MAX_VALUE_BYTES {
        return Cow::Borrowed(value);
    }
    let suffix = format!("~{:016x}", fnv1a(value.as_bytes()));
    let mut end = MAX_VALUE_BYTES - suffix.len();
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(value[..end].to_owned() + &suffix)
}

/// FNV-1a, 64 bits: the same in every run, so that a cut value names the same series after a restart.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// An attribute value as text. Source: OpenTelemetry "AnyValue representation for non-OTLP protocols".
pub fn attribute_text(value: AnyValue<'_>) -> Cow<'_, str> {
    match value {
        AnyValue::Empty => Cow::Borrowed(""),
        AnyValue::Str(text) => Cow::Borrowed(text),
        AnyValue::Bool(true) => Cow::Borrowed("true"),
        AnyValue::Bool(false) => Cow::Borrowed("false"),
        AnyValue::Int(number) => Cow::Owned(number.to_string()),
        AnyValue::Double(number) => Cow::Owned(double_text(number)),
        AnyValue::Bytes(bytes) => {
            Cow::Owned(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        AnyValue::Array(_) | AnyValue::Kvlist(_) => {
            let mut json = String::new();
            push_json(&mut json, value, 0);
            Cow::Owned(json)
        }
    }
}

fn double_text(number: f64) -> String {
    match number {
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        finite => go_text(finite),
    }
}

fn push_json(out: &mut String, value: AnyValue<'_>, depth: usize) {
    match value {
        _ if depth > MAX_DEPTH => out.push_str("null"),
        AnyValue::Empty => out.push_str("null"),
        AnyValue::Array(body) => {
            let items = fields(body).flatten().filter(|field| field.number == 1);
            push_list(out, ['[', ']'], items, |out, item| {
                push_json(out, AnyValue::parse(item.value.bytes()), depth + 1);
            });
        }
        AnyValue::Kvlist(body) => {
            let pairs = attributes(body, 1);
            push_list(out, ['{', '}'], pairs, |out, (key, value)| {
                push_json_text(out, text(key));
                out.push(':');
                push_json(out, AnyValue::parse(value), depth + 1);
            });
        }
        AnyValue::Str(_) | AnyValue::Bytes(_) => push_json_text(out, &attribute_text(value)),
        AnyValue::Double(number) if !number.is_finite() => {
            push_json_text(out, &double_text(number));
        }
        number => out.push_str(&attribute_text(number)),
    }
}

fn push_list<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl Iterator<Item = T>,
    mut push: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(close);
}

fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The text of one attribute of a Resource or Scope; empty where it is absent. Of a repeated key the last counts.
pub fn attribute(message: &[u8], number: u32, wanted: &str) -> String {
    attributes(message, number)
        .filter(|(key, _)| *key == wanted.as_bytes())
        .last()
        .map(|(_, value)| attribute_text(AnyValue::parse(value)).into_owned())
        .unwrap_or_default()
}
