//! Links from real stage spans to the trace of their requirement's journey, whose id follows from project and requirement.
#![forbid(unsafe_code)]

use pyo3::prelude::*;
use sha2::{Digest, Sha256};

use crate::batch::Batch;
use crate::otlp::{AnyValue, Context, Signal, attributes};
use crate::rewrite::{Edit, Rewrite, rewrite};
use crate::wire::{Value, fields, put_bytes_field, put_message};

const TRACE_ID: u32 = 1;
const PARENT_SPAN_ID: u32 = 4;
const LINKS: u32 = 13;
/// Of a span, a scope and a resource.
const LEVELS: (u32, u32, u32) = (9, 3, 1);
const PROJECT: &[u8] = b"sdlc.project.id";
const REQUIREMENT: &[u8] = b"sdlc.requirement.id";
const STAGE: &[u8] = b"sdlc.stage.name";
const STAGE_RUN: &[u8] = b"sdlc.stage.run";

/// The trace and the root span of a journey.
pub fn journey_ids(project: &[u8], requirement: &[u8]) -> ([u8; 16], [u8; 8]) {
    let mut hash = Sha256::new();
    hash.update(b"journey");
    for part in [project, requirement] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let trace_id = first(&hash.finalize());
    let mut root = Sha256::new();
    root.update(trace_id);
    root.update(b"root");
    (trace_id, first(&root.finalize()))
}

fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut id = [0; N];
    for (to, from) in id.iter_mut().zip(digest) {
        *to = *from;
    }
    id
}

/// What the levels above a span say, kept while they stay the same.
#[derive(Default)]
struct Pass {
    resource: Found,
    scope: Found,
    /// Project, requirement, and their ids, of the last span: one delivery sends many.
    last: (Vec<u8>, Vec<u8>, [u8; 16], [u8; 8]),
}

#[derive(Default, Clone)]
struct Found {
    project: Vec<u8>,
    requirement: Vec<u8>,
    has_stage: bool,
    run: Option<bool>,
}

impl Found {
    fn read(&mut self, message: &[u8], number: u32) {
        for (key, value) in attributes(message, number) {
            match (key, AnyValue::parse(value)) {
                (PROJECT, AnyValue::Str(text)) => self.project = text.into(),
                (REQUIREMENT, AnyValue::Str(text)) => self.requirement = text.into(),
                (STAGE, AnyValue::Str(text)) => self.has_stage = !text.is_empty(),
                (STAGE_RUN, AnyValue::Bool(value)) => self.run = Some(value),
                _ => {}
            }
        }
    }

    fn is_run(&self, span: &[u8]) -> bool {
        let is_top = || !fields(span).flatten().any(is_parent);
        self.has_stage && !self.requirement.is_empty() && self.run.unwrap_or_else(is_top)
    }
}

fn is_parent(field: crate::wire::Field<'_>) -> bool {
    field.number == PARENT_SPAN_ID && field.value.bytes().iter().any(|byte| *byte != 0)
}

impl Rewrite for Pass {
    fn resource(&mut self, resource: &[u8], _out: &mut Vec<u8>) -> bool {
        self.resource = Found::default();
        self.resource.read(resource, LEVELS.2);
        self.scope = self.resource.clone();
        false
    }

    fn scope(&mut self, context: &Context<'_>, _out: &mut Vec<u8>) -> bool {
        self.scope = self.resource.clone();
        self.scope.read(context.scope, LEVELS.1);
        false
    }

    fn item(&mut self, _context: &Context<'_>, span: &[u8], out: &mut Vec<u8>) -> Edit {
        let mut found = self.scope.clone();
        found.read(span, LEVELS.0);
        if !found.is_run(span) {
            return Edit::Keep;
        }
        if self.last.0 != found.project || self.last.1 != found.requirement {
            let (trace_id, root) = journey_ids(&found.project, &found.requirement);
            self.last = (found.project, found.requirement, trace_id, root);
        }
        let (_, _, trace_id, root) = &self.last;
        if has(span, trace_id) {
            return Edit::Keep;
        }
        out.extend_from_slice(span);
        put_message(out, LINKS, |out| {
            put_bytes_field(out, 1, trace_id);
            put_bytes_field(out, 2, root);
        });
        Edit::Write
    }
}

/// Whether the span is of that trace or links to it already: no link twice, and none from a journey to itself.
fn has(span: &[u8], trace_id: &[u8]) -> bool {
    fields(span).flatten().any(|field| match field.value {
        Value::Bytes(own) if field.number == TRACE_ID => own == trace_id,
        Value::Bytes(link) if field.number == LINKS => fields(link)
            .flatten()
            .any(|part| part.number == TRACE_ID && part.value.bytes() == trace_id),
        _ => false,
    })
}

/// See `_native.pyi`.
#[pyfunction]
#[pyo3(name = "journey_ids")]
pub fn ids_for_python(project: &str, requirement: &str) -> ([u8; 16], [u8; 8]) {
    journey_ids(project.as_bytes(), requirement.as_bytes())
}

/// Adds the links to a batch; see `_native.pyi`.
#[pyfunction]
pub fn link_journeys(py: Python<'_>, batch: &Batch) -> Batch {
    let (signal, data) = (batch.signal, batch.bytes(py));
    let edited = py.detach(|| {
        matches!(signal, Signal::Traces)
            .then(|| rewrite(data, &mut Pass::default()))
            .flatten()
    });
    batch.replaced(py, edited, batch.item_count())
}
