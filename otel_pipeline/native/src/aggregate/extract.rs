//! Reads from a span what aggregation needs: ids, times, status and the label values in their slots.
#![forbid(unsafe_code)]

use std::fmt::Write;

use base64::Engine;

use super::intern::{ABSENT, Interner, MAX_VALUE_BYTES, Symbol};
use super::keys::Keys;
use super::plan::{LabelSource, LateBinding, SpanField};
use crate::otlp::{
    AnyValue, Context, RESOURCE_ATTRIBUTES, attributes, key_value, scope, span, text,
};
use crate::wire::fields;

const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUSES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
const STATUS_ERROR: usize = 2;

/// `Span.flags`: whether the parent is in another process is known, and whether it is.
const HAS_IS_REMOTE: u64 = 0x100;
const IS_REMOTE: u64 = 0x200;

/// The fields of one span besides its labels.
#[derive(Debug, Default, Clone, Copy)]
pub struct Head<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_id: &'a [u8],
    pub start_ns: u64,
    pub end_ns: u64,
    name: &'a [u8],
    kind: usize,
    status: usize,
    flags: u64,
}

impl Head<'_> {
    /// Known to be in the same process, so that it arrives when it ends.
    pub fn parent_is_local(&self) -> bool {
        self.flags & (HAS_IS_REMOTE | IS_REMOTE) == HAS_IS_REMOTE
    }

    /// The start, or the end where the start is missing.
    pub fn begin_ns(&self) -> u64 {
        match self.start_ns {
            0 => self.end_ns,
            start_ns => start_ns,
        }
    }

    /// None where the times make no duration: one is missing, or the end is before the start.
    pub fn duration_ns(&self) -> Option<u64> {
        if self.start_ns == 0 {
            return None;
        }
        self.end_ns.checked_sub(self.start_ns)
    }
}

/// The number in an id of exactly `N` bytes; None for other lengths and for zero, which OTLP forbids.
pub fn trace_number(id: &[u8]) -> Option<u128> {
    let number = u128::from_be_bytes(id.try_into().ok()?);
    (number != 0).then_some(number)
}

pub fn span_number(id: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(id.try_into().ok()?);
    (number != 0).then_some(number)
}

/// A label value that is read of every item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotSource {
    /// An attribute of the item, else of its scope, else of its resource.
    Attribute(String),
    Field(SpanField),
}

/// The label values of one item, each in its slot: all that every item is asked for, once.
#[derive(Debug, Default)]
pub struct Slots(pub Vec<SlotSource>);

impl Slots {
    /// The slot for `source`; made at the first call.
    pub fn slot(&mut self, source: SlotSource) -> usize {
        self.0
            .iter()
            .position(|known| *known == source)
            .unwrap_or_else(|| {
                self.0.push(source);
                self.0.len() - 1
            })
    }

    pub fn attribute(&mut self, key: &str) -> usize {
        self.slot(SlotSource::Attribute(key.to_owned()))
    }

    fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        for (slot, source) in (0..).zip(&self.0) {
            if let SlotSource::Attribute(key) = source {
                keys.put_in_slot(key, slot);
            }
        }
        keys
    }

    pub fn label(&mut self, from: &LabelSource) -> usize {
        match from {
            LabelSource::Field(field) => self.slot(SlotSource::Field(*field)),
            LabelSource::Attributes(keys) => self.attribute(keys.first().map_or("", |key| key)),
        }
    }
}

pub struct Extractor {
    keys: Keys,
    name: Option<usize>,
    kind: Option<(usize, [Symbol; 6])>,
    status: Option<(usize, [Symbol; 3])>,
    outcome: Option<(usize, [Symbol; 2])>,
    resource: Vec<Symbol>,
    scope: Vec<Symbol>,
    span: Vec<Symbol>,
    /// The last value of each slot: mostly the next one's too.
    recent: Vec<Symbol>,
}

impl Extractor {
    pub fn new(slots: &Slots, late: Option<&LateBinding>, interner: &mut Interner) -> Self {
        let field = |wanted| {
            let wanted = SlotSource::Field(wanted);
            slots.0.iter().position(|source| *source == wanted)
        };
        let attribute = |key: &str| {
            slots
                .0
                .iter()
                .position(|source| matches!(source, SlotSource::Attribute(name) if name == key))
        };
        let absent = vec![ABSENT; slots.0.len()];
        Self {
            keys: slots.keys(),
            name: field(SpanField::SpanName),
            kind: field(SpanField::SpanKind)
                .map(|slot| (slot, KINDS.map(|kind| interner.intern(kind)))),
            status: field(SpanField::StatusCode)
                .map(|slot| (slot, STATUSES.map(|status| interner.intern(status)))),
            outcome: late.and_then(|late| {
                let words = [&late.success, &late.failure].map(|word| interner.intern(word));
                attribute(&late.outcome).map(|slot| (slot, words))
            }),
            resource: absent.clone(),
            scope: absent.clone(),
            span: absent.clone(),
            recent: absent,
        }
    }

    /// Reads one item; its label values are in `slots()` afterwards.
    pub fn read<'a>(
        &mut self,
        interner: &mut Interner,
        context: &Context<'a>,
        item: &'a [u8],
    ) -> Head<'a> {
        if context.new_resource {
            self.resource.fill(ABSENT);
            for (key, value) in attributes(context.resource, RESOURCE_ATTRIBUTES) {
                set(
                    &self.keys,
                    &mut self.recent,
                    &mut self.resource,
                    interner,
                    key,
                    value,
                );
            }
        }
        if context.new_scope {
            self.scope.copy_from_slice(&self.resource);
            for (key, value) in attributes(context.scope, scope::ATTRIBUTES) {
                set(
                    &self.keys,
                    &mut self.recent,
                    &mut self.scope,
                    interner,
                    key,
                    value,
                );
            }
        }
        self.span.copy_from_slice(&self.scope);
        let head = self.head(interner, item);
        self.fill_fields(interner, &head);
        head
    }

    /// The label values of the span that was read last.
    pub fn slots(&self) -> &[Symbol] {
        &self.span
    }

    fn head<'a>(&mut self, interner: &mut Interner, item: &'a [u8]) -> Head<'a> {
        let mut head = Head::default();
        for field in fields(item).flatten() {
            let value = field.value;
            match field.number {
                span::ATTRIBUTES => {
                    let (key, value) = key_value(value.bytes());
                    set(
                        &self.keys,
                        &mut self.recent,
                        &mut self.span,
                        interner,
                        key,
                        value,
                    );
                }
                span::TRACE_ID => head.trace_id = value.bytes(),
                span::SPAN_ID => head.span_id = value.bytes(),
                span::PARENT_SPAN_ID => head.parent_id = value.bytes(),
                span::NAME => head.name = value.bytes(),
                span::KIND => head.kind = value.number() as usize,
                span::START => head.start_ns = value.number(),
                span::END => head.end_ns = value.number(),
                span::STATUS => head.status = status_code(value.bytes()),
                span::FLAGS => head.flags = value.number(),
                _ => {}
            }
        }
        head
    }

    fn fill_fields(&mut self, interner: &mut Interner, head: &Head<'_>) {
        if let Some(slot) = self.name {
            self.span[slot] = recent(interner, &mut self.recent[slot], head.name);
        }
        if let Some((slot, symbols)) = &self.kind {
            self.span[*slot] = *symbols.get(head.kind).unwrap_or(&symbols[0]);
        }
        if let Some((slot, symbols)) = &self.status {
            self.span[*slot] = *symbols.get(head.status).unwrap_or(&symbols[0]);
        }
        if let Some((slot, symbols)) = &self.outcome {
            if self.span[*slot] == ABSENT {
                self.span[*slot] = symbols[usize::from(head.status == STATUS_ERROR)];
            }
        }
    }
}

fn status_code(status: &[u8]) -> usize {
    fields(status)
        .flatten()
        .filter(|field| field.number == span::STATUS_CODE)
        .last()
        .map_or(0, |field| field.value.number() as usize)
}

/// Puts the value of an attribute into its slot, if the plan has one and the value is not empty.
#[inline]
fn set(
    keys: &Keys,
    last: &mut [Symbol],
    slots: &mut [Symbol],
    interner: &mut Interner,
    key: &[u8],
    value: &[u8],
) {
    let Some(slot) = keys.find(key).and_then(|asked| asked.slot) else {
        return;
    };
    let slot = slot as usize;
    let symbol = match plain_text(value) {
        Some(text) => recent(interner, &mut last[slot], text),
        None => interner.intern(&label_text(AnyValue::parse(value))),
    };
    if symbol != ABSENT {
        slots[slot] = symbol;
    }
}

/// The text of an AnyValue message that is nothing but one short string, still unchecked.
#[inline]
fn plain_text(value: &[u8]) -> Option<&[u8]> {
    match value {
        [0x0a, length, text @ ..] if *length < 0x80 && text.len() == usize::from(*length) => {
            Some(text)
        }
        _ => None,
    }
}

/// The symbol of `bytes`, by comparing with the last one first.
#[inline]
fn recent(interner: &mut Interner, last: &mut Symbol, bytes: &[u8]) -> Symbol {
    if interner.text(*last).as_bytes() != bytes {
        *last = interner.intern(text(bytes));
    }
    *last
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
