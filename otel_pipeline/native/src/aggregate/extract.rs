//! Reads from items and what is around them what aggregation needs: the label values in their slots, the watched
//! attributes, and of a span its ids, times and status.
#![forbid(unsafe_code)]

use super::intern::{ABSENT, Interner, Symbol};
use super::keys::{Keys, Lists, Seen};
use super::plan::{LateBinding, SpanField};
use super::slots::{SlotSource, Slots};
use super::text::symbol_of;
use crate::otlp::{
    AnyValue, Context, RESOURCE_ATTRIBUTES, attributes, key_value, scope, span, text,
};
use crate::wire::fields;

const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUSES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
const STATUS_ERROR: usize = 2;

/// `Span.flags`: whether the parent is in another process is known, and whether it is.
const HAS_IS_REMOTE: u64 = 0x100;
const IS_REMOTE: u64 = 0x200;

/// The fields of one span besides its labels.
#[derive(Debug, Default, Clone, Copy)]
pub struct Head<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_id: &'a [u8],
    pub start_ns: u64,
    pub end_ns: u64,
    pub name: &'a [u8],
    pub kind: usize,
    pub status: usize,
    flags: u64,
}

impl Head<'_> {
    /// Known to be in the same process, so that it arrives when it ends.
    pub fn parent_is_local(&self) -> bool {
        self.flags & (HAS_IS_REMOTE | IS_REMOTE) == HAS_IS_REMOTE
    }

    /// The start, or the end where the start is missing.
    pub fn begin_ns(&self) -> u64 {
        match self.start_ns {
            0 => self.end_ns,
            start_ns => start_ns,
        }
    }

    /// None where the times make no duration: one is missing, or the end is before the start.
    pub fn duration_ns(&self) -> Option<u64> {
        if self.start_ns == 0 {
            return None;
        }
        self.end_ns.checked_sub(self.start_ns)
    }
}

/// The number in an id of exactly `N` bytes; None for other lengths and for zero, which OTLP forbids.
pub fn trace_number(id: &[u8]) -> Option<u128> {
    let number = u128::from_be_bytes(id.try_into().ok()?);
    (number != 0).then_some(number)
}

pub fn span_number(id: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(id.try_into().ok()?);
    (number != 0).then_some(number)
}

/// Reads items of one kind.
pub struct Extractor {
    keys: Keys,
    name: Option<usize>,
    kind: Option<(usize, [Symbol; 6])>,
    status: Option<(usize, [Symbol; 3])>,
    outcome: Option<(usize, [Symbol; 2])>,
    levels: Levels,
}

/// The slots, as filled by the attributes of resource, scope and item.
struct Levels {
    resource: Vec<Symbol>,
    scope: Vec<Symbol>,
    item: Vec<Symbol>,
    /// The last value of each slot: mostly the next one's too.
    recent: Vec<Symbol>,
}

impl Extractor {
    /// `keys` are the watched ones; they are joined by those of the slots.
    pub fn new(
        mut keys: Keys,
        slots: &Slots,
        late: Option<&LateBinding>,
        interner: &mut Interner,
    ) -> Self {
        for (slot, source) in (0..).zip(&slots.0) {
            if let SlotSource::Attribute(key) = source {
                keys.put_in_slot(key, slot);
            }
        }
        let field = |wanted| slots.find(&SlotSource::Field(wanted));
        let absent = vec![ABSENT; slots.0.len()];
        Self {
            keys,
            name: field(SpanField::SpanName),
            kind: field(SpanField::SpanKind)
                .map(|slot| (slot, KINDS.map(|kind| interner.intern(kind)))),
            status: field(SpanField::StatusCode)
                .map(|slot| (slot, STATUSES.map(|status| interner.intern(status)))),
            outcome: late.and_then(|late| {
                let words = [&late.success, &late.failure].map(|word| interner.intern(word));
                let slot = slots.find(&SlotSource::Attribute(late.outcome.clone()));
                slot.map(|slot| (slot, words))
            }),
            levels: Levels {
                resource: absent.clone(),
                scope: absent.clone(),
                item: absent.clone(),
                recent: absent,
            },
        }
    }

    /// Reads resource and scope where they are new; then the item's own attributes may follow.
    #[inline]
    pub fn enter<'a>(
        &mut self,
        interner: &mut Interner,
        context: &Context<'a>,
        lists: &mut Lists<'a>,
    ) {
        let levels = &mut self.levels;
        if context.new_resource {
            lists.resource.0.clear();
            levels.resource.fill(ABSENT);
            let own = attributes(context.resource, RESOURCE_ATTRIBUTES);
            let (seen, slots) = (&mut lists.resource, &mut levels.resource);
            set_all(&self.keys, &mut levels.recent, slots, seen, interner, own);
        }
        if context.new_scope {
            lists.scope.0.clear();
            levels.scope.copy_from_slice(&levels.resource);
            let own = attributes(context.scope, scope::ATTRIBUTES);
            let (seen, slots) = (&mut lists.scope, &mut levels.scope);
            set_all(&self.keys, &mut levels.recent, slots, seen, interner, own);
        }
        lists.item.0.clear();
        levels.item.copy_from_slice(&levels.scope);
    }

    /// Takes in one attribute of the item.
    #[inline]
    pub fn attribute<'a>(
        &mut self,
        interner: &mut Interner,
        lists: &mut Lists<'a>,
        attribute: &'a [u8],
    ) {
        let (key, value) = key_value(attribute);
        let (levels, seen) = (&mut self.levels, &mut lists.item);
        let slots = &mut levels.item;
        set(
            &self.keys,
            &mut levels.recent,
            slots,
            seen,
            interner,
            key,
            value,
        );
    }

    /// Puts the item's name into its slot, if it has one.
    pub fn name(&mut self, interner: &mut Interner, name: &[u8]) {
        if let Some(slot) = self.name {
            let recent = &mut self.levels.recent[slot];
            self.levels.item[slot] = recall(interner, recent, name);
        }
    }

    /// Reads one span, all but resource and scope; its label values are in `slots()` afterwards.
    #[inline]
    pub fn span<'a>(
        &mut self,
        interner: &mut Interner,
        lists: &mut Lists<'a>,
        item: &'a [u8],
    ) -> Head<'a> {
        let mut head = Head::default();
        for field in fields(item).flatten() {
            let value = field.value;
            match field.number {
                span::ATTRIBUTES => self.attribute(interner, lists, value.bytes()),
                span::TRACE_ID => head.trace_id = value.bytes(),
                span::SPAN_ID => head.span_id = value.bytes(),
                span::PARENT_SPAN_ID => head.parent_id = value.bytes(),
                span::NAME => head.name = value.bytes(),
                span::KIND => head.kind = value.number() as usize,
                span::START => head.start_ns = value.number(),
                span::END => head.end_ns = value.number(),
                span::STATUS => head.status = status_code(value.bytes()),
                span::FLAGS => head.flags = value.number(),
                _ => {}
            }
        }
        self.name(interner, head.name);
        self.fill_fields(&head);
        head
    }

    /// The label values of the item that was read last.
    pub fn slots(&self) -> &[Symbol] {
        &self.levels.item
    }

    fn fill_fields(&mut self, head: &Head<'_>) {
        let item = &mut self.levels.item;
        if let Some((slot, symbols)) = &self.kind {
            item[*slot] = *symbols.get(head.kind).unwrap_or(&symbols[0]);
        }
        if let Some((slot, symbols)) = &self.status {
            item[*slot] = *symbols.get(head.status).unwrap_or(&symbols[0]);
        }
        if let Some((slot, symbols)) = &self.outcome {
            if item[*slot] == ABSENT {
                item[*slot] = symbols[usize::from(head.status == STATUS_ERROR)];
            }
        }
    }
}

fn status_code(status: &[u8]) -> usize {
    fields(status)
        .flatten()
        .filter(|field| field.number == span::STATUS_CODE)
        .last()
        .map_or(0, |field| field.value.number() as usize)
}

/// Puts the values of all attributes of a list where the plan wants them.
#[inline]
fn set_all<'a>(
    keys: &Keys,
    last: &mut [Symbol],
    slots: &mut [Symbol],
    seen: &mut Seen<'a>,
    interner: &mut Interner,
    list: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    for (key, value) in list {
        set(keys, last, slots, seen, interner, key, value);
    }
}

/// Puts the value of an attribute where the plan wants it: into its slot, if it is not empty, or among those seen.
#[inline]
fn set<'a>(
    keys: &Keys,
    last: &mut [Symbol],
    slots: &mut [Symbol],
    seen: &mut Seen<'a>,
    interner: &mut Interner,
    key: &[u8],
    value: &'a [u8],
) {
    let Some(asked) = keys.find(key) else { return };
    if let Some(watched) = asked.watched {
        seen.0.push((watched, value));
    }
    let Some(slot) = asked.slot else { return };
    let slot = slot as usize;
    let symbol = match plain_text(value) {
        Some(text) => recall(interner, &mut last[slot], text),
        None => symbol_of(AnyValue::parse(value), interner),
    };
    if symbol != ABSENT {
        slots[slot] = symbol;
    }
}

/// The text of an AnyValue message that is nothing but one short string, still unchecked.
#[inline]
fn plain_text(value: &[u8]) -> Option<&[u8]> {
    match value {
        [0x0a, length, text @ ..] if *length < 0x80 && text.len() == usize::from(*length) => {
            Some(text)
        }
        _ => None,
    }
}

/// The symbol of `bytes`, by comparing with the last one first.
#[inline]
fn recall(interner: &mut Interner, last: &mut Symbol, bytes: &[u8]) -> Symbol {
    if interner.text(*last).as_bytes() != bytes {
        *last = interner.intern(text(bytes));
    }
    *last
}
