//! Rewriting a request: every level can be kept, replaced or left out; what is not touched keeps its bytes.
#![forbid(unsafe_code)]

use crate::otlp::{Context, ITEMS, RESOURCE, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, child};
use crate::wire::{Value, fields, put_bytes_field, put_message};

/// What becomes of one item.
pub enum Edit {
    /// The item stays, byte for byte.
    Keep,
    /// The item is left out.
    Drop,
    /// The visitor has written the new item body into `out`.
    Write,
}

/// How one pass edits a request. All methods see bodies (no tag, no length).
pub trait Rewrite {
    /// A resource begins. Write a new Resource body into `out` and return true, or return false to keep it.
    fn resource(&mut self, _resource: &[u8], _out: &mut Vec<u8>) -> bool {
        false
    }

    /// A scope begins; as `resource`.
    fn scope(&mut self, _context: &Context<'_>, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// One Span, LogRecord or Metric. For `Edit::Write` the new body is in `out`, which comes empty.
    fn item(&mut self, context: &Context<'_>, item: &[u8], out: &mut Vec<u8>) -> Edit;
}

/// Runs `pass` over `message` and returns the new request, or None where nothing changed.
/// Scopes and resources that lose all their items are left out; those that came empty stay.
/// Fields that this file does not know keep their bytes and their place.
pub fn rewrite(message: &[u8], pass: &mut impl Rewrite) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 2 + 64);
    let mut run = Run {
        pass,
        scratch: Vec::with_capacity(1024),
        changed: false,
    };
    for field in fields(message).flatten() {
        match (field.number, field.value) {
            (RESOURCE_ITEMS, Value::Bytes(body)) => run.resource_items(body, &mut out),
            _ => out.extend_from_slice(field.raw),
        }
    }
    run.changed.then_some(out)
}

struct Run<'p, P> {
    pass: &'p mut P,
    scratch: Vec<u8>,
    changed: bool,
}

impl<P: Rewrite> Run<'_, P> {
    fn resource_items(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        let mut context = Context {
            resource: child(body, RESOURCE),
            scope: &[],
            scope_items: &[],
            new_resource: true,
            new_scope: true,
        };
        let mut emptied = false;
        let mut kept = false;
        put_message(out, RESOURCE_ITEMS, |out| {
            let edited = self.edit_header(context.resource, out, RESOURCE, |pass, out, body| {
                pass.resource(body, out)
            });
            for field in fields(body).flatten() {
                match (field.number, field.value) {
                    (RESOURCE, Value::Bytes(_)) if edited => {}
                    (SCOPE_ITEMS, Value::Bytes(body)) => {
                        match self.scope_items(body, &mut context, out) {
                            true => kept = true,
                            false => emptied = true,
                        }
                    }
                    _ => out.extend_from_slice(field.raw),
                }
            }
        });
        if emptied && !kept {
            out.truncate(before);
        }
    }

    /// Writes one ScopeSpans; false where all its items were dropped and it is left out.
    fn scope_items<'a>(
        &mut self,
        body: &'a [u8],
        context: &mut Context<'a>,
        out: &mut Vec<u8>,
    ) -> bool {
        let before = out.len();
        context.scope = child(body, SCOPE);
        context.new_scope = true;
        let (mut kept, mut dropped) = (false, false);
        put_message(out, SCOPE_ITEMS, |out| {
            let edited = self.edit_header(context.scope, out, SCOPE, |pass, out, _| {
                pass.scope(context, out)
            });
            for field in fields(body).flatten() {
                match (field.number, field.value) {
                    (SCOPE, Value::Bytes(_)) if edited => {}
                    (ITEMS, Value::Bytes(item)) => {
                        self.scratch.clear();
                        match self.pass.item(context, item, &mut self.scratch) {
                            Edit::Keep => {
                                out.extend_from_slice(field.raw);
                                kept = true;
                            }
                            Edit::Write => {
                                put_bytes_field(out, ITEMS, &self.scratch);
                                self.changed = true;
                                kept = true;
                            }
                            Edit::Drop => {
                                self.changed = true;
                                dropped = true;
                            }
                        }
                        context.new_resource = false;
                        context.new_scope = false;
                    }
                    _ => out.extend_from_slice(field.raw),
                }
            }
        });
        if dropped && !kept {
            out.truncate(before);
            return false;
        }
        true
    }

    /// Lets the pass write a new Resource or Scope; true where it did (and the old one is to be left out).
    fn edit_header(
        &mut self,
        body: &[u8],
        out: &mut Vec<u8>,
        number: u32,
        edit: impl FnOnce(&mut P, &mut Vec<u8>, &[u8]) -> bool,
    ) -> bool {
        self.scratch.clear();
        if !edit(self.pass, &mut self.scratch, body) {
            return false;
        }
        put_bytes_field(out, number, &self.scratch);
        self.changed = true;
        true
    }
}
