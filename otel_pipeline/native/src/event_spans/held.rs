//! Work that waits for its span to come, prompts that wait for their end, and how either is written as a span.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::aggregate::hash::HashMap;
use crate::otlp::{
    Context, ITEMS, RESOURCE, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, SCOPE_SCHEMA_URL, child, span,
};
use crate::wire::{put_bytes_field, put_fixed64_field, put_message, put_tag};

/// `Span.flags`: whether the parent is in another process is known, and whether it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// What is around records: the bodies of Resource and Scope, kept once for all records below them.
#[derive(PartialEq, Eq, Hash)]
pub struct Around {
    pub resource: Vec<u8>,
    pub scope: Vec<u8>,
    pub schema_url: Vec<u8>,
}

impl Around {
    pub fn of(context: &Context<'_>) -> Self {
        Self {
            resource: context.resource.to_vec(),
            scope: context.scope.to_vec(),
            schema_url: child(context.scope_items, SCOPE_SCHEMA_URL).to_vec(),
        }
    }

    pub fn size(&self) -> usize {
        self.resource.len() + self.scope.len() + self.schema_url.len() + 100
    }
}

/// Where a sender says that a record belongs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    pub trace_id: Option<u128>,
    /// The span around the record, in its trace.
    pub span_id: Option<u64>,
    /// That span is exported, as far as the sender says.
    pub is_sampled: bool,
    /// Hashes of sender with session, and with trace; 0 for none.
    pub session: u64,
    pub trace: u64,
}

/// A span to be.
pub struct Draft {
    pub around: Arc<Around>,
    pub place: Place,
    pub span_id: u64,
    pub start_ns: u64,
    pub end_ns: u64,
    /// Everything but ids and times.
    pub body: Vec<u8>,
}

impl Draft {
    pub fn size(&self) -> usize {
        self.body.len() + 200
    }

    /// The span, in the trace and below the parent that it turned out to have.
    pub fn write(&self, trace_id: u128, parent: Parent, out: &mut Vec<u8>) {
        put_bytes_field(out, span::TRACE_ID, &trace_id.to_be_bytes());
        put_bytes_field(out, span::SPAN_ID, &self.span_id.to_be_bytes());
        let (id, flags) = match parent {
            Parent::None => (None, HAS_IS_REMOTE),
            Parent::Ours(id) => (Some(id), HAS_IS_REMOTE),
            Parent::Theirs(id) => (Some(id), HAS_IS_REMOTE | IS_REMOTE),
        };
        if let Some(id) = id {
            put_bytes_field(out, span::PARENT_SPAN_ID, &id.to_be_bytes());
        }
        put_fixed64_field(out, span::START, self.start_ns);
        put_fixed64_field(out, span::END, self.end_ns.max(self.start_ns));
        out.extend_from_slice(&self.body);
        put_tag(out, span::FLAGS, 5);
        out.extend_from_slice(&(flags | 1).to_le_bytes());
    }
}

#[derive(Clone, Copy)]
pub enum Parent {
    None,
    /// A span made here, which comes when it ends.
    Ours(u64),
    /// The span that the record names, which may never come.
    Theirs(u64),
}

/// Work that waits.
pub struct Work {
    pub draft: Draft,
    pub arrived_ns: u64,
    /// The prompt that it names; 0 for none.
    pub prompt: u64,
    /// The trace where nothing else tells one.
    pub own_trace_id: u128,
}

/// A prompt: everything that is done for it hangs below its span.
pub struct Prompt {
    pub key: u64,
    pub span_id: u64,
    pub trace_id: u128,
    pub start_ns: u64,
    pub arrived_ns: u64,
    /// When work was last done for it.
    pub active_ns: u64,
    /// None once it is over.
    pub draft: Option<Draft>,
}

/// A traces request in the making: spans below what was around their records.
#[derive(Default)]
pub struct Request {
    groups: Vec<(Arc<Around>, Vec<u8>)>,
    places: HashMap<usize, usize>,
    pub spans: u64,
}

impl Request {
    pub fn add(&mut self, draft: &Draft, trace_id: u128, parent: Parent) {
        let groups = &mut self.groups;
        let at = *self
            .places
            .entry(Arc::as_ptr(&draft.around).addr())
            .or_insert_with(|| {
                groups.push((Arc::clone(&draft.around), Vec::new()));
                groups.len() - 1
            });
        self.spans += 1;
        put_message(&mut groups[at].1, ITEMS, |out| {
            draft.write(trace_id, parent, out);
        });
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (around, spans) in &self.groups {
            put_message(&mut out, RESOURCE_ITEMS, |out| {
                put_bytes_field(out, RESOURCE, &around.resource);
                put_message(out, SCOPE_ITEMS, |out| {
                    put_bytes_field(out, SCOPE, &around.scope);
                    out.extend_from_slice(spans);
                    if !around.schema_url.is_empty() {
                        put_bytes_field(out, SCOPE_SCHEMA_URL, &around.schema_url);
                    }
                });
            });
        }
        out
    }
}
