//! Enriches one request: decide, inherit, then write what is new into a copy that shares no decision with reading.
#![forbid(unsafe_code)]

use super::analysis::{Analysis, Entry, RowRecord};
use super::decide::Pass;
use super::findings::Findings;
use super::header::Header;
use super::inherit::inherit;
use super::observe::Observer;
use super::plan::{Mask, Plan};
use super::rule_set::members;
use super::scratch::Scratch;
use super::value::Value;
use crate::otlp::{Context, RESOURCE_ATTRIBUTES, Signal, key_value, log, scope, span};
use crate::rewrite::{Edit, Rewrite, rewrite};
use crate::rows::{Row, rewrite_points};
use crate::wire::{Value as WireValue, fields};

/// The new request; None where nothing is to be written. What could not be resolved is added to `findings`.
pub fn enrich<'a>(
    plan: &'a Plan,
    scratch: &mut Scratch<'a>,
    signal: Signal,
    message: &'a [u8],
    findings: &mut Findings,
    observer: &mut impl Observer<'a>,
) -> Option<Vec<u8>> {
    let mut pass = Pass {
        plan,
        scratch,
        observer,
    };
    pass.run(signal, message);
    let analysis = &mut scratch.analysis;
    inherit(analysis, plan.inherit, observer);
    findings.add(plan, analysis);
    if !analysis.is_edit() {
        return None;
    }
    let mut writer = Writer {
        plan,
        analysis,
        rows: &analysis.rows,
        resource: 0,
        scope: 0,
        item: 0,
        signal,
        scratch: Vec::new(),
    };
    rewrite(message, &mut writer)
}

/// Writes what was decided; sees resources, scopes and items in the order in which they were recorded.
struct Writer<'p> {
    plan: &'p Plan,
    analysis: &'p Analysis<'p>,
    /// Those that are still to come.
    rows: &'p [RowRecord],
    resource: usize,
    scope: usize,
    item: usize,
    signal: Signal,
    /// For one data point.
    scratch: Vec<u8>,
}

impl Writer<'_> {
    fn header(&self, header: &Header, field: u32, body: &[u8], out: &mut Vec<u8>) -> bool {
        let writes = self.analysis.headers.writes(header);
        if !writes.is_empty() {
            self.put_without(header.replaced, field, body, out);
            let put = |(attribute, value): &(u8, Value<'_>)| {
                self.put(usize::from(*attribute), *value, field, out);
            };
            writes.iter().for_each(put);
        }
        !writes.is_empty()
    }

    fn put(&self, attribute: usize, value: Value<'_>, field: u32, out: &mut Vec<u8>) {
        value.put_key_value(field, &self.plan.attributes[attribute].encoded_key, out);
    }

    fn put_entry(&self, entry: &Entry<'_>, field: u32, out: &mut Vec<u8>) {
        self.put(usize::from(entry.attribute), entry.value, field, out);
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

    fn span(&self, index: usize, body: &[u8], out: &mut Vec<u8>) -> Edit {
        let Some(record) = self.analysis.spans.get(index) else {
            return Edit::Keep;
        };
        let values = self.analysis.values(record);
        let mut writes = values.filter(|entry| entry.write).peekable();
        if writes.peek().is_none() {
            return Edit::Keep;
        }
        self.put_without(record.replaced, span::ATTRIBUTES, body, out);
        writes.for_each(|entry| self.put_entry(entry, span::ATTRIBUTES, out));
        Edit::Write
    }

    /// Writes a log record or data point where it is the next of `rows`.
    fn row(&mut self, item: usize, point: u32, row: Row<'_>, out: &mut Vec<u8>) -> Edit {
        let Some((record, rest)) = self.rows.split_first() else {
            return Edit::Keep;
        };
        if (record.item as usize, record.point) != (item, point) {
            return Edit::Keep;
        }
        self.rows = rest;
        self.put_without(record.replaced, row.attributes, row.body, out);
        let entries = record.own.of(&self.analysis.entries).iter();
        entries.for_each(|entry| self.put_entry(entry, row.attributes, out));
        Edit::Write
    }

    fn metric(&mut self, index: usize, body: &[u8], out: &mut Vec<u8>) -> Edit {
        let next = self.rows.first().map(|record| record.item as usize);
        if next != Some(index) {
            return Edit::Keep;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut point = 0;
        let edit = rewrite_points(body, &mut scratch, out, |row, out| {
            point += 1;
            self.row(index, point - 1, row, out)
        });
        self.scratch = scratch;
        edit
    }
}

impl Rewrite for Writer<'_> {
    fn resource(&mut self, resource: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(record) = self.analysis.resources.get(self.resource) else {
            return false;
        };
        self.resource += 1;
        self.header(&record.header, RESOURCE_ATTRIBUTES, resource, out)
    }

    fn scope(&mut self, context: &Context<'_>, out: &mut Vec<u8>) -> bool {
        let Some(record) = self.analysis.scopes.get(self.scope) else {
            return false;
        };
        self.scope += 1;
        self.header(&record.header, scope::ATTRIBUTES, context.scope, out)
    }

    fn item(&mut self, _context: &Context<'_>, item: &[u8], out: &mut Vec<u8>) -> Edit {
        let index = self.item;
        self.item += 1;
        match self.signal {
            Signal::Traces => self.span(index, item, out),
            Signal::Metrics => self.metric(index, item, out),
            Signal::Logs => {
                let row = Row {
                    body: item,
                    attributes: log::ATTRIBUTES,
                    item,
                };
                self.row(index, 0, row, out)
            }
        }
    }
}
