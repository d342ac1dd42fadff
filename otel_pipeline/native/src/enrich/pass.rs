//! Enriches one request: analyse, inherit, then write what is new into a copy that shares no decision with reading.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::analysis::{Analysis, Entry, analyse};
use super::gather::members;
use super::inherit::inherit;
use super::plan::{Mask, Plan};
use super::value::Value;
use crate::otlp::{Context, RESOURCE_ATTRIBUTES, Signal, key_value, scope, span};
use crate::rewrite::{Edit, Rewrite, rewrite};
use crate::wire::{Value as WireValue, fields, put_message};

/// Items without a value, by sender (`service.name`) and attribute.
pub type Unresolved = BTreeMap<(String, String), u64>;

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
            signal,
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
        || analysis.resources.iter().any(|one| !one.header.writes.is_empty())
        || analysis.scopes.iter().any(|one| !one.header.writes.is_empty())
}

fn unresolved(plan: &Plan, analysis: &Analysis<'_>) -> Unresolved {
    let width = plan.attributes.len();
    let mut counts = vec![0; width * analysis.resources.len()];
    let mut count = |resource: usize, have: Mask, items: u64| {
        for attribute in members(plan.expected & !have) {
            counts[resource * width + attribute] += items;
        }
    };
    for scope in analysis.scopes.iter().filter(|scope| scope.items != 0) {
        count(scope.resource, scope.header.have, scope.items);
    }
    for span in &analysis.spans {
        count(analysis.scopes[span.scope].resource, span.have, 1);
    }
    let mut unresolved = Unresolved::new();
    for (at, count) in counts.into_iter().enumerate().filter(|(_, count)| *count != 0) {
        let sender = analysis.resources[at / width].sender.to_owned();
        let key = plan.attributes[at % width].key.clone();
        *unresolved.entry((sender, key)).or_default() += count;
    }
    unresolved
}

/// Writes what the analysis decided; sees resources, scopes and spans in the order in which it recorded them.
struct Writer<'p> {
    plan: &'p Plan,
    signal: Signal,
    analysis: &'p Analysis<'p>,
    resource: usize,
    scope: usize,
    span: usize,
}

impl Writer<'_> {
    fn header(&self, writes: &[(usize, Value<'_>)], replaced: Mask, field: u32, body: &[u8], out: &mut Vec<u8>) -> bool {
        if !writes.is_empty() {
            self.put_without(replaced, field, body, out);
            writes.iter().for_each(|(attribute, value)| self.put(*attribute, *value, field, out));
        }
        !writes.is_empty()
    }

    fn put(&self, attribute: usize, value: Value<'_>, field: u32, out: &mut Vec<u8>) {
        let key = &self.plan.attributes[attribute].key;
        put_message(out, field, |out| value.put_key_value(key, out));
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
        let header = &self.analysis.resources[self.resource].header;
        self.resource += 1;
        self.header(&header.writes, header.replaced, RESOURCE_ATTRIBUTES, resource, out)
    }

    fn scope(&mut self, context: &Context<'_>, out: &mut Vec<u8>) -> bool {
        let header = &self.analysis.scopes[self.scope].header;
        self.scope += 1;
        self.header(&header.writes, header.replaced, scope::ATTRIBUTES, context.scope, out)
    }

    fn item(&mut self, _context: &Context<'_>, item: &[u8], out: &mut Vec<u8>) -> Edit {
        if self.signal != Signal::Traces {
            return Edit::Keep;
        }
        let record = &self.analysis.spans[self.span];
        self.span += 1;
        let own = &self.analysis.entries[record.first..record.first + record.count];
        let end = record.first_inherited + record.inherited;
        let inherited = &self.analysis.inherited[record.first_inherited..end];
        let write = |entry: &&Entry<'_>| entry.write;
        let mut writes = own.iter().chain(inherited).filter(write).peekable();
        if writes.peek().is_none() {
            return Edit::Keep;
        }
        self.put_without(record.replaced, span::ATTRIBUTES, item, out);
        writes.for_each(|entry| self.put(entry.attribute, entry.value, span::ATTRIBUTES, out));
        Edit::Write
    }
}
