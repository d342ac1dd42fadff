//! The ids of spans and traces, made of what a record says.
#![forbid(unsafe_code)]

use super::held::Place;
use super::plan::{Rule, raw};
use super::record::{Digest, Record};
use crate::aggregate::keys::Seen;

/// Names a trace of a sender; never 0.
pub fn trace_key(sender: u32, trace_id: u128) -> u64 {
    let mut digest = Digest::new("trace of sender");
    digest.add_number(u64::from(sender));
    digest.add(&trace_id.to_be_bytes());
    digest.short()
}

/// Names a session of a sender, by the AnyValue message of its id; never 0.
pub fn session_key(sender: u32, id: &[u8]) -> u64 {
    let mut digest = Digest::new("session of sender");
    digest.add_number(u64::from(sender));
    digest.add(id);
    digest.short()
}

/// What a record is and where it belongs, by hashes.
pub struct Ids {
    pub place: Place,
    pub span_id: u64,
    /// 0 for none.
    pub prompt: u64,
    /// Made of session and prompt; of the record where it names neither.
    pub trace_id: u128,
}

impl Ids {
    pub fn read(rule: &Rule, seen: &Seen<'_>, resource: &Seen<'_>, record: &Record<'_>) -> Self {
        let first = |keys: &[u32]| {
            let found = |key: &u32| raw(seen, *key).or_else(|| raw(resource, *key));
            keys.iter().find_map(found)
        };
        let prompt_id = first(&rule.prompt);
        let session_id = first(&rule.session).or(prompt_id);
        let session = session_id.map_or(0, |id| session_key(rule.sender, id));
        let mut content = record.content.clone();
        content.add_number(session);
        let mut of_prompt = Digest::new("prompt of session");
        of_prompt.add_number(session);
        of_prompt.add(prompt_id.unwrap_or_default());
        let prompt = prompt_id.map_or(0, |_| of_prompt.short());
        let is_alone = session == 0 || rule.opens_prompt && prompt == 0;
        let trace_id = if is_alone {
            content.wide()
        } else {
            of_prompt.wide()
        };
        let span_id = match (rule.opens_prompt, prompt) {
            (true, 1..) => prompt,
            _ => content.short(),
        };
        Self {
            place: Place {
                trace_id: record.trace_id,
                span_id: record.span_id,
                is_sampled: record.is_sampled,
                session,
                trace: record.trace_id.map_or(0, |id| trace_key(rule.sender, id)),
            },
            span_id,
            prompt,
            trace_id,
        }
    }
}
