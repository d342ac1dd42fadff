//! What is decided of a batch before anything is written, in wire order.
#![forbid(unsafe_code)]

use super::gather::emptied;
use super::header::{Header, Headers};
use super::item::Ids;
use super::plan::Mask;
use super::value::Value;

/// A value of one item.
pub struct Entry<'a> {
    pub attribute: u8,
    pub value: Value<'a>,
    /// False where the item carries it already.
    pub write: bool,
}

/// A run of entries. A batch is far smaller than 4 GiB, and every entry or record takes some of its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    first: u32,
    end: u32,
}

impl Run {
    pub fn since(first: usize, entries: &[Entry<'_>]) -> Self {
        Self {
            first: first as u32,
            end: entries.len() as u32,
        }
    }

    #[inline]
    pub fn of<'e, 'a>(self, entries: &'e [Entry<'a>]) -> &'e [Entry<'a>] {
        &entries[self.first as usize..self.end as usize]
    }
}

/// What is known of one span.
pub struct SpanRecord<'a> {
    pub ids: Ids<'a>,
    pub scope: u32,
    /// Its own values in `Analysis.entries`, and its inherited ones in `Analysis.inherited`.
    pub own: Run,
    pub inherited: Run,
    /// Attributes that have a value, here or around it.
    pub have: Mask,
    /// Attributes whose own key stands here, with whatever value, and those of them that get another one.
    pub own_keys: Mask,
    pub replaced: Mask,
}

/// A log record or data point that something is written on.
pub struct RowRecord {
    /// The index of the log record or metric, and of the data point in it.
    pub item: u32,
    pub point: u32,
    pub own: Run,
    pub replaced: Mask,
}

pub struct ResourceRecord<'a> {
    pub sender: &'a str,
    pub header: Header,
}

pub struct ScopeRecord {
    pub resource: u32,
    pub header: Header,
}

/// Items in a row, below one resource, that lack the same attributes.
pub struct Missing {
    pub resource: u32,
    pub attributes: Mask,
    pub items: u64,
}

/// All that is known of a batch. Empty resources and scopes have records too.
#[derive(Default)]
pub struct Analysis<'a> {
    pub headers: Headers<'a>,
    pub resources: Vec<ResourceRecord<'a>>,
    pub scopes: Vec<ScopeRecord>,
    pub spans: Vec<SpanRecord<'a>>,
    pub rows: Vec<RowRecord>,
    pub entries: Vec<Entry<'a>>,
    pub inherited: Vec<Entry<'a>>,
    /// Of log records and data points.
    pub missing: Vec<Missing>,
    /// Resource and attributes of each list that holds values of unexpected type.
    pub unexpected: Vec<(u32, Mask)>,
}

impl<'a> Analysis<'a> {
    /// The same room for another batch.
    pub fn recycled<'b>(self) -> Analysis<'b> {
        Analysis {
            headers: self.headers.recycled(),
            resources: emptied(self.resources),
            scopes: emptied(self.scopes),
            spans: emptied(self.spans),
            rows: emptied(self.rows),
            entries: emptied(self.entries),
            inherited: emptied(self.inherited),
            missing: emptied(self.missing),
            unexpected: emptied(self.unexpected),
        }
    }

    /// The values of a span that do not stand around it: its own, then the inherited ones.
    #[inline]
    pub fn values(&self, span: &SpanRecord<'a>) -> impl Iterator<Item = &Entry<'a>> {
        span.own
            .of(&self.entries)
            .iter()
            .chain(span.inherited.of(&self.inherited))
    }

    pub fn scope(&self, span: &SpanRecord<'a>) -> &ScopeRecord {
        &self.scopes[span.scope as usize]
    }

    /// The value of a span for an attribute: its own, the inherited, or that around it.
    pub fn value(&self, span: &SpanRecord<'a>, attribute: usize) -> Option<Value<'a>> {
        let mut values = self.values(span);
        match values.find(|entry| usize::from(entry.attribute) == attribute) {
            Some(entry) => Some(entry.value),
            None => self.headers.value(&self.scope(span).header, attribute),
        }
    }

    /// Whether anything is to be written.
    pub fn is_edit(&self) -> bool {
        self.headers.writes_any()
            || !self.rows.is_empty()
            || !self.inherited.is_empty()
            || self.entries.iter().any(|entry| entry.write)
    }

    /// Notes an item below the last resource that lacks attributes.
    #[inline]
    pub fn miss(&mut self, attributes: Mask) {
        if attributes == 0 {
            return;
        }
        let resource = self.resources.len() as u32 - 1;
        match self.missing.last_mut() {
            Some(last) if last.attributes == attributes && last.resource == resource => {
                last.items += 1;
            }
            _ => self.missing.push(Missing {
                resource,
                attributes,
                items: 1,
            }),
        }
    }
}
