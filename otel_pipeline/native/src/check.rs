//! The fast pass over a received request: is it clean? What it does not like, `repair` looks at again and explains.
#![forbid(unsafe_code)]

use crate::limits::Limits;
use crate::schema::{Field, Id, Kind, LEGACY_LIBRARY, Message, Role};
use crate::wire::{self, Value, fields};

/// The number of items in `body`, a message of the given type, or None where anything is malformed, over a limit
/// or in need of repair.
pub fn clean_items(message: &'static Message, body: &[u8], limits: &Limits) -> Option<u64> {
    let mut check = Check { limits, items: 0 };
    check.message(message, body, 0)?;
    Some(check.items)
}

struct Check<'l> {
    limits: &'l Limits,
    items: u64,
}

impl Check<'_> {
    fn message(&mut self, message: &'static Message, body: &[u8], depth: usize) -> Option<()> {
        let mut rest = body;
        let mut attributes = 0;
        let mut ids = 0;
        while !rest.is_empty() {
            let (tag, tail) = tag(rest)?;
            let Some(field) = message.by_tag(tag) else {
                rest = self.rare(message, rest)?;
                continue;
            };
            rest = match field.kind {
                Kind::Message(child) => {
                    let (value, rest) = take(tail)?;
                    attributes += usize::from(field.is_attributes);
                    if !(field.is_attributes && self.is_plain_attribute(value)) {
                        self.child(child, value, depth)?;
                    }
                    rest
                }
                Kind::String => self.text(tail, self.limits.max_value_bytes)?,
                Kind::Key => self.text(tail, self.limits.max_key_bytes)?,
                Kind::Bytes => {
                    let (value, rest) = take(tail)?;
                    (value.len() <= self.limits.max_value_bytes).then_some(rest)?
                }
                Kind::Id(id) => {
                    let (value, rest) = take(tail)?;
                    id_fits(message.role, id, value).then_some(())?;
                    ids |= 1 << id as u8;
                    rest
                }
                _ => number(field, tail)?,
            };
        }
        (attributes <= self.limits.max_attributes).then_some(())?;
        self.role(message.role, ids)
    }

    #[inline]
    fn child(&mut self, child: &'static Message, value: &[u8], depth: usize) -> Option<()> {
        let depth = depth + child.nests();
        (!self.limits.is_too_deep(child, depth)).then_some(())?;
        self.message(child, value, depth)
    }

    /// True for the shape of nearly every attribute: a short key, then a short text, a number or a bool, and nothing
    /// else. A shortcut only: what it does not recognise goes the general way.
    #[inline]
    fn is_plain_attribute(&self, key_value: &[u8]) -> bool {
        let &[0x0a, key_length, ref tail @ ..] = key_value else {
            return false;
        };
        let Some((key, tail)) = tail.split_at_checked(usize::from(key_length)) else {
            return false;
        };
        let &[0x12, length, kind, second, ref tail @ ..] = tail else {
            return false;
        };
        let whole = key_length < 0x80
            && length < 0x80
            && usize::from(length) == tail.len() + 2
            && key.len() <= self.limits.max_key_bytes;
        whole
            && is_ascii(key)
            && match kind {
                0x0a => {
                    usize::from(second) == tail.len()
                        && tail.len() <= self.limits.max_value_bytes
                        && is_text(tail)
                }
                0x10 | 0x18 => match *tail {
                    [] => second < 0x80,
                    [last] => second >= 0x80 && last < 0x80,
                    [middle, last] => second >= 0x80 && middle >= 0x80 && last < 0x80,
                    _ => false,
                },
                _ => false,
            }
    }

    /// Counts items, and sees that a span or link has its ids: `ids` has a bit for each id that was there.
    #[inline]
    fn role(&mut self, role: Role, ids: u8) -> Option<()> {
        self.items += u64::from(role.counts());
        let complete = !role.needs_ids() || ids & NEEDED_IDS == NEEDED_IDS;
        complete.then_some(())
    }

    #[inline]
    fn text<'a>(&self, tail: &'a [u8], max_bytes: usize) -> Option<&'a [u8]> {
        let (value, rest) = take(tail)?;
        (value.len() <= max_bytes && is_text(value)).then_some(rest)
    }

    /// Unknown fields, which are carried, and repeated numbers that are not packed.
    #[cold]
    fn rare<'a>(&self, message: &'static Message, rest: &'a [u8]) -> Option<&'a [u8]> {
        let field = fields(rest).next()?.ok()?;
        match message.by_number(field.number) {
            Some(known) => is_unpacked(known, field.value).then_some(())?,
            None => {
                let legacy = message.role == Role::ResourceItems && field.number == LEGACY_LIBRARY;
                (!legacy).then_some(())?;
            }
        }
        rest.get(field.raw.len()..)
    }
}

const NEEDED_IDS: u8 = 1 << Id::Trace as u8 | 1 << Id::Span as u8;

/// Whether a message of this role can hold this id. A parent may be empty but not zero, so that a root is easy to tell;
/// log records and exemplars may be outside of any trace.
#[inline]
pub fn id_fits(role: Role, id: Id, value: &[u8]) -> bool {
    let is_set = match id {
        Id::Trace => matches!(<[u8; 16]>::try_from(value), Ok(id) if u128::from_ne_bytes(id) != 0),
        _ => matches!(<[u8; 8]>::try_from(value), Ok(id) if u64::from_ne_bytes(id) != 0),
    };
    is_set
        || match role {
            Role::Span | Role::Link => id == Id::Parent && value.is_empty(),
            _ => value.is_empty() || value.len() == if id == Id::Trace { 16 } else { 8 },
        }
}

/// True where a value of a repeated number stands by itself, which readers must accept.
pub fn is_unpacked(field: &Field, value: Value<'_>) -> bool {
    field.is_packed() && field.kind.wire_type() == wire_type(value)
}

pub fn wire_type(value: Value<'_>) -> u8 {
    match value {
        Value::Varint(_) => 0,
        Value::Fixed64(_) => 1,
        Value::Bytes(_) => 2,
        Value::Group(_) => 3,
        Value::Fixed32(_) => 5,
    }
}

/// True for the content of a packed field: whole numbers of the field's kind.
pub fn is_packed_content(field: &Field, content: &[u8]) -> bool {
    match field.kind.wire_type() {
        1 => content.len() % 8 == 0,
        5 => content.len() % 4 == 0,
        _ => {
            let mut rest = content;
            while !rest.is_empty() {
                match varint(rest) {
                    Some((_, tail)) => rest = tail,
                    None => return false,
                }
            }
            true
        }
    }
}

/// Steps over a number, or over a packed list of them.
#[inline]
fn number<'a>(field: &Field, tail: &'a [u8]) -> Option<&'a [u8]> {
    if field.repeated {
        let (content, rest) = take(tail)?;
        return is_packed_content(field, content).then_some(rest);
    }
    match field.kind.wire_type() {
        1 => tail.get(8..),
        5 => tail.get(4..),
        _ => varint(tail).map(|(_, rest)| rest),
    }
}

/// A tag of one or two bytes; all known fields have one.
#[inline]
fn tag(rest: &[u8]) -> Option<(u32, &[u8])> {
    match *rest {
        [low, ref tail @ ..] if low < 0x80 => Some((u32::from(low), tail)),
        [low, high, ref tail @ ..] if high < 0x80 => {
            Some((u32::from(low & 0x7f) | u32::from(high) << 7, tail))
        }
        [_, ref tail @ ..] => Some((u32::MAX, tail)),
        [] => None,
    }
}

#[inline]
fn varint(rest: &[u8]) -> Option<(u64, &[u8])> {
    match *rest {
        [byte, ref tail @ ..] if byte < 0x80 => Some((u64::from(byte), tail)),
        [low, high, ref tail @ ..] if high < 0x80 => {
            Some((u64::from(low & 0x7f) | u64::from(high) << 7, tail))
        }
        _ => wire::varint(rest).ok(),
    }
}

/// The value of a length-delimited field, and what follows it.
#[inline]
fn take(tail: &[u8]) -> Option<(&[u8], &[u8])> {
    match *tail {
        [length, ref rest @ ..] if length < 0x80 => rest.split_at_checked(usize::from(length)),
        _ => wire::delimited(tail).ok(),
    }
}

#[inline]
fn is_text(bytes: &[u8]) -> bool {
    is_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
}

/// Eight bytes at a time, the last eight twice: most texts are short.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().fold(0, |all, byte| all | byte) < 0x80;
    };
    let words = bytes
        .chunks_exact(8)
        .filter_map(|word| word.try_into().ok());
    let all = words.fold(0, |all, word| all | u64::from_ne_bytes(word));
    (all | u64::from_ne_bytes(*last)) & HIGH == 0
}
