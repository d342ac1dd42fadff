//! Enriches one request: analyse, inherit, then write what is new into a copy that shares no decision with reading.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::analysis::{Analysis, analyse};
use super::gather::members;
use super::inherit::inherit;
use super::plan::{Mask, Plan};
use super::value::Value;
use crate::otlp::{Context, RESOURCE_ATTRIBUTES, Signal, key_value, scope, span};
use crate::rewrite::{Edit, Rewrite, rewrite};
use crate::wire::{Value as WireValue, fields};

/// Items without a value, by sender (`service.name`) and attribute.
pub type Unresolved = BTreeMap<(String, String), u64>;

/// Above this many pairs of one batch, senders are counted together as `_other`.
const MAX_UNRESOLVED: usize = 1000;

/// The new request (None where nothing is to be written) and what could not be resolved.
pub fn enrich(plan: &Plan, signal: Signal, message: &[u8]) -> (Option<Vec<u8>>, Unresolved) {
    let mut analysis = analyse(plan, signal, message);
    if signal == Signal::Traces {
        inherit(&mut analysis, plan.inherit);
    }
    let unresolved = unresolved(plan, &analysis);
    let edited = is_edited(&analysis).then(|| {
        let mut writer = Writer {
            plan,
            analysis: &analysis,
            resource: 0,
            scope: 0,
            span: 0,
        };
        rewrite(message, &mut writer)
    });
    (edited.flatten(), unresolved)
}

fn is_edited(analysis: &Analysis<'_>) -> bool {
    !analysis.inherited.is_empty()
        || analysis.entries.iter().any(|entry| entry.write)
        || analysis
            .resources
            .iter()
            .any(|one| !one.header.writes.is_empty())
        || analysis
            .scopes
            .iter()
            .any(|one| !one.header.writes.is_empty())
}

fn unresolved(plan: &Plan, analysis: &Analysis<'_>) -> Unresolved {
    let mut unresolved = Unresolved::new();
    let scopes = analysis.scopes.iter().filter(|scope| scope.items != 0);
    let headers = scopes.map(|scope| (scope.resource, scope.header.have, scope.items));
    let spans = analysis.spans.iter();
    let spans = spans.map(|span| (analysis.scope(span).resource, span.have, 1));
    let mut row = vec![0; plan.attributes.len()];
    let mut items = headers.chain(spans).peekable();
    while let Some((resource, have, count)) = items.next() {
        for attribute in members(plan.expected & !have) {
            row[attribute] += count;
        }
        if items.peek().is_none_or(|(next, _, _)| *next != resource) {
            add_row(
                plan,
                analysis.resources[resource].sender,
                &mut row,
                &mut unresolved,
            );
        }
    }
    unresolved
}

/// Moves the counts of one resource, by attribute, to those of its sender.
fn add_row(plan: &Plan, sender: &str, row: &mut [u64], unresolved: &mut Unresolved) {
    for (count, attribute) in row.iter_mut().zip(&plan.attributes) {
        let count = std::mem::take(count);
        if count == 0 {
            continue;
        }
        let mut key = (sender.to_owned(), attribute.key.clone());
        if unresolved.len() >= MAX_UNRESOLVED && !unresolved.contains_key(&key) {
            key.0 = "_other".to_owned();
        }
        *unresolved.entry(key).or_default() += count;
    }
}

/// Writes what the analysis decided; sees resources, scopes and spans in the order in which it recorded them.
struct Writer<'p> {
    plan: &'p Plan,
    analysis: &'p Analysis<'p>,
    resource: usize,
    scope: usize,
    span: usize,
}

impl Writer<'_> {
    fn header(
        &self,
        writes: &[(usize, Value<'_>)],
        replaced: Mask,
        field: u32,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        if !writes.is_empty() {
            self.put_without(replaced, field, body, out);
            writes
                .iter()
                .for_each(|(attribute, value)| self.put(*attribute, *value, field, out));
        }
        !writes.is_empty()
    }

    fn put(&self, attribute: usize, value: Value<'_>, field: u32, out: &mut Vec<u8>) {
        value.put_key_value(field, &self.plan.attributes[attribute].encoded_key, out);
    }

    /// Copies `body` without the attributes (below `field`) that get another value.
    fn put_without(&self, replaced: Mask, field: u32, body: &[u8], out: &mut Vec<u8>) {
        if replaced == 0 {
            return out.extend_from_slice(body);
        }
        for one in fields(body).flatten() {
            let is_replaced = match (one.number == field, one.value) {
                (true, WireValue::Bytes(body)) => self.is_one_of(replaced, key_value(body).0),
                _ => false,
            };
            if !is_replaced {
                out.extend_from_slice(one.raw);
            }
        }
    }

    fn is_one_of(&self, mask: Mask, key: &[u8]) -> bool {
        members(mask).any(|attribute| self.plan.attributes[attribute].key.as_bytes() == key)
    }
}

impl Rewrite for Writer<'_> {
    fn resource(&mut self, resource: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(record) = self.analysis.resources.get(self.resource) else {
            return false;
        };
        self.resource += 1;
        let header = &record.header;
        self.header(
            &header.writes,
            header.replaced,
            RESOURCE_ATTRIBUTES,
            resource,
            out,
        )
    }

    fn scope(&mut self, context: &Context<'_>, out: &mut Vec<u8>) -> bool {
        let Some(record) = self.analysis.scopes.get(self.scope) else {
            return false;
        };
        self.scope += 1;
        let header = &record.header;
        self.header(
            &header.writes,
            header.replaced,
            scope::ATTRIBUTES,
            context.scope,
            out,
        )
    }

    fn item(&mut self, _context: &Context<'_>, item: &[u8], out: &mut Vec<u8>) -> Edit {
        let Some(record) = self.analysis.spans.get(self.span) else {
            return Edit::Keep;
        };
        self.span += 1;
        let mut writes = self
            .analysis
            .values(record)
            .filter(|entry| entry.write)
            .peekable();
        if writes.peek().is_none() {
            return Edit::Keep;
        }
        self.put_without(record.replaced, span::ATTRIBUTES, item, out);
        writes.for_each(|entry| {
            self.put(
                usize::from(entry.attribute),
                entry.value,
                span::ATTRIBUTES,
                out,
            )
        });
        Edit::Write
    }
}
