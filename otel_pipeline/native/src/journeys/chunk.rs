//! The spans of one trace as they are stored: OTLP TracesData without content attributes, compressed with LZ4.
#![forbid(unsafe_code)]

use crate::otlp::{
    ITEMS, RESOURCE, RESOURCE_ATTRIBUTES, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, attributes,
    key_value, scope, span,
};
use crate::wire::{Value, fields, put_bytes_field, put_message};

/// The first byte of a blob: how it is compressed.
const LZ4: u8 = 1;
/// No blob is larger once unpacked, whatever it says of itself.
const MAX_BYTES: usize = 256 << 20;
/// LZ4 cannot make more of a byte.
const MAX_RATIO: usize = 255;

/// Packs a message.
pub fn pack(message: &[u8]) -> Vec<u8> {
    let mut blob =
        Vec::with_capacity(1 + 4 + lz4_flex::block::get_maximum_output_size(message.len()));
    blob.push(LZ4);
    blob.extend_from_slice(&lz4_flex::block::compress_prepend_size(message));
    blob
}

/// The message in a blob; None where the blob is damaged.
pub fn unpack(blob: &[u8]) -> Option<Vec<u8>> {
    let (&LZ4, rest) = blob.split_first()? else {
        return None;
    };
    let (size, packed) = rest.split_first_chunk()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    if size > MAX_BYTES || size > packed.len().saturating_mul(MAX_RATIO) {
        return None;
    }
    let message = lz4_flex::block::decompress(packed, size).ok()?;
    (message.len() == size).then_some(message)
}

/// What is around spans, as it is stored.
pub struct Around {
    pub resource: Vec<u8>,
    pub scope: Vec<u8>,
    pub schema_url: Vec<u8>,
}

impl Around {
    /// `is_content` says which attribute keys are left out.
    pub fn new(
        resource: &[u8],
        scope: &[u8],
        schema_url: &[u8],
        is_content: &impl Fn(&[u8]) -> bool,
    ) -> Self {
        Self {
            resource: without(resource, RESOURCE_ATTRIBUTES, is_content),
            scope: without(scope, scope::ATTRIBUTES, is_content),
            schema_url: schema_url.to_vec(),
        }
    }
}

/// A message without those of its attributes (field `number`) that are content.
fn without(message: &[u8], number: u32, is_content: &impl Fn(&[u8]) -> bool) -> Vec<u8> {
    if !attributes(message, number).any(|(key, _)| is_content(key)) {
        return message.to_vec();
    }
    let mut out = Vec::with_capacity(message.len());
    copy_without(message, number, is_content, &mut out);
    out
}

fn copy_without(
    message: &[u8],
    number: u32,
    is_content: &impl Fn(&[u8]) -> bool,
    out: &mut Vec<u8>,
) {
    for field in fields(message).flatten() {
        let is_attribute = field.number == number;
        if !is_attribute || !is_content(key_value(field.value.bytes()).0) {
            out.extend_from_slice(field.raw);
        }
    }
}

/// Writes a span without content attributes, its events' included.
pub fn put_span(out: &mut Vec<u8>, item: &[u8], is_content: &impl Fn(&[u8]) -> bool) {
    put_message(out, ITEMS, |out| {
        for field in fields(item).flatten() {
            match (field.number, field.value) {
                (span::ATTRIBUTES, Value::Bytes(body)) if is_content(key_value(body).0) => {}
                (span::EVENTS, Value::Bytes(event)) => put_message(out, span::EVENTS, |out| {
                    copy_without(event, span::EVENT_ATTRIBUTES, is_content, out);
                }),
                _ => out.extend_from_slice(field.raw),
            }
        }
    });
}

/// Writes spans (fields of a ScopeSpans message) with what is around them.
pub fn put_spans(out: &mut Vec<u8>, around: &Around, spans: &[u8]) {
    put_message(out, RESOURCE_ITEMS, |out| {
        put_bytes_field(out, RESOURCE, &around.resource);
        put_message(out, SCOPE_ITEMS, |out| {
            if !around.scope.is_empty() {
                put_bytes_field(out, SCOPE, &around.scope);
            }
            out.extend_from_slice(spans);
            if !around.schema_url.is_empty() {
                put_bytes_field(out, crate::otlp::SCOPE_SCHEMA_URL, &around.schema_url);
            }
        });
    });
}
