//! One log record as the rules see it, and the hashes that ids are made of.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hasher};

use super::plan::Plan;
use crate::aggregate::events::EVENT_NAME;
use crate::aggregate::extract::{span_number, trace_number};
use crate::aggregate::hash::{Folded, Seeded};
use crate::aggregate::keys::Seen;
use crate::otlp::{AnyValue, key_value, log, text};
use crate::wire::fields;

/// Longer bodies are no names.
const MAX_NAME_BYTES: usize = 128;

/// `LogRecord.flags`: the span was sampled, so that it is exported.
const SAMPLED: u64 = 1;

/// Ids are the same wherever and whenever they are made of the same record, so the seeds are fixed.
const SEEDS: [(u64, u64); 2] = [
    (0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9),
    (0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93),
];

/// A hash of 128 bits, for ids.
#[derive(Clone)]
pub struct Digest([Folded; 2]);

impl Digest {
    pub fn new(about: &str) -> Self {
        let mut digest = Self(SEEDS.map(|(state, key)| Seeded::new(state, key).build_hasher()));
        digest.add(about.as_bytes());
        digest
    }

    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        for half in &mut self.0 {
            half.write_usize(bytes.len());
            half.write(bytes);
        }
    }

    pub fn add_number(&mut self, number: u64) {
        self.0.iter_mut().for_each(|half| half.write_u64(number));
    }

    /// Never 0, which is no id.
    pub fn wide(&self) -> u128 {
        let [high, low] = &self.0;
        (u128::from(high.finish()) << 64 | u128::from(low.finish())).max(1)
    }

    /// Never 0.
    pub fn short(&self) -> u64 {
        (self.wide() as u64).max(1)
    }
}

/// The fields of one record besides its watched attributes.
pub struct Record<'a> {
    /// The attribute `event.name`, else the field, else a body that is a short text.
    pub name: &'a str,
    /// 0 where neither time is told.
    pub time_ns: u64,
    pub is_sampled: bool,
    pub trace_id: Option<u128>,
    pub span_id: Option<u64>,
    /// Of all that the sender said.
    pub content: Digest,
}

impl<'a> Record<'a> {
    /// Reads a record; what is watched of its attributes is in `seen` afterwards.
    pub fn read(plan: &Plan, seen: &mut Seen<'a>, item: &'a [u8]) -> Self {
        seen.0.clear();
        let mut content = Digest::new("record");
        let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
        let (mut time_ns, mut observed_ns, mut is_sampled) = (0, 0, false);
        let (mut event_name, mut named, mut body) = ("", "", AnyValue::Empty);
        for field in fields(item).flatten() {
            let value = field.value;
            match field.number {
                log::ATTRIBUTES => {
                    let (key, told) = key_value(value.bytes());
                    let watched = plan.keys.find(key).and_then(|asked| asked.watched);
                    if let Some(number) = watched {
                        seen.0.push((number, told));
                    }
                    if key == EVENT_NAME.as_bytes() {
                        named = text_of(told);
                    }
                    if watched.is_none_or(|number| !plan.is_canonical[number as usize]) {
                        content.add(key);
                        content.add(told);
                    }
                    continue;
                }
                log::TIME => time_ns = value.number(),
                log::OBSERVED_TIME => observed_ns = value.number(),
                log::BODY => body = AnyValue::parse(value.bytes()),
                log::FLAGS => is_sampled = value.number() & SAMPLED != 0,
                log::TRACE_ID => trace_id = value.bytes(),
                log::SPAN_ID => span_id = value.bytes(),
                log::EVENT_NAME => event_name = text(value.bytes()),
                _ => {}
            }
            content.add(field.raw);
        }
        let name = match (named, event_name, body) {
            ("", "", AnyValue::Str(body)) if body.len() <= MAX_NAME_BYTES => body,
            ("", told, _) | (told, _, _) => told,
        };
        Self {
            name,
            time_ns: if time_ns == 0 { observed_ns } else { time_ns },
            is_sampled,
            trace_id: trace_number(trace_id),
            span_id: span_number(span_id),
            content,
        }
    }
}

fn text_of(value: &[u8]) -> &str {
    match AnyValue::parse(value) {
        AnyValue::Str(text) => text,
        _ => "",
    }
}
