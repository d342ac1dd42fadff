//! Reads log records: what they are called, which span they belong to, when they were made.
#![forbid(unsafe_code)]

use std::hash::BuildHasher;

use super::extract::{Extractor, span_number, trace_number};
use super::hash::Seeded;
use super::intern::Interner;
use super::keys::Lists;
use crate::otlp::{AnyValue, log, text};
use crate::wire::fields;

/// The attribute that names an event, before there was a field for it.
pub const EVENT_NAME: &str = "event.name";

/// Longer bodies are no names.
const MAX_NAME_BYTES: usize = 128;

/// `LogRecord.flags`: the span was sampled, so that it is exported.
const SAMPLED: u64 = 1;

/// The fields of one log record besides its labels.
pub struct Event<'a> {
    /// The attribute `event.name`, else the field, else a body that is a short text.
    pub name: &'a str,
    pub time_ns: u64,
    pub is_sampled: bool,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    item: &'a [u8],
}

impl<'a> Event<'a> {
    /// Reads one log record, all but resource and scope. `name_key` is the number of `EVENT_NAME` among the watched keys.
    pub fn read(
        extractor: &mut Extractor,
        interner: &mut Interner,
        lists: &mut Lists<'a>,
        name_key: u32,
        item: &'a [u8],
    ) -> Self {
        let mut event = Self {
            name: "",
            time_ns: 0,
            is_sampled: false,
            trace_id: &[],
            span_id: &[],
            item,
        };
        let (mut observed_ns, mut body) = (0, AnyValue::Empty);
        for field in fields(item).flatten() {
            let value = field.value;
            match field.number {
                log::ATTRIBUTES => extractor.attribute(interner, lists, value.bytes()),
                log::TIME => event.time_ns = value.number(),
                log::OBSERVED_TIME => observed_ns = value.number(),
                log::BODY => body = AnyValue::parse(value.bytes()),
                log::FLAGS => event.is_sampled = value.number() & SAMPLED != 0,
                log::TRACE_ID => event.trace_id = value.bytes(),
                log::SPAN_ID => event.span_id = value.bytes(),
                log::EVENT_NAME => event.name = text(value.bytes()),
                _ => {}
            }
        }
        if event.time_ns == 0 {
            event.time_ns = observed_ns;
        }
        match (lists.item.get(name_key), body) {
            (Some(AnyValue::Str(name)), _) if !name.is_empty() => event.name = name,
            (_, AnyValue::Str(body)) if event.name.is_empty() && body.len() <= MAX_NAME_BYTES => {
                event.name = body;
            }
            _ => {}
        }
        extractor.name(interner, event.name.as_bytes());
        event
    }

    /// Trace and span id, where both are valid.
    pub fn ids(&self) -> Option<(u128, u64)> {
        trace_number(self.trace_id).zip(span_number(self.span_id))
    }

    /// A number by which the same record is known when it comes again: senders repeat what was not acknowledged.
    pub fn content_number(&self) -> u64 {
        Seeded::default().hash_one(self.item).max(1)
    }
}
