//! The slow pass over a request that is not clean: says where it is malformed, or rewrites it within the rules.
//! What it does not have to change keeps its bytes.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use crate::check::{clean_items, id_fits, is_packed_content, is_unpacked, wire_type};
use crate::findings::{Reason, Tally};
use crate::limits::Limits;
use crate::schema::{Field, Id, Kind, LEGACY_LIBRARY, Message, Role, snake_case};
use crate::wire::{
    self, Value, WireError, fields, put_bytes_field, put_varint_field, try_put_message,
};

/// A request within the rules, and what had to be done for it.
pub struct Repaired {
    pub body: Vec<u8>,
    /// False where `body` holds what was received.
    pub changed: bool,
    pub items: u64,
    pub tally: Tally,
}

/// Rewrites `body`, a message of the given type. The error says where it is malformed, and how.
pub fn repair(message: &'static Message, body: &[u8], limits: &Limits) -> Result<Repaired, String> {
    let mut repair = Repair {
        limits,
        path: Vec::new(),
        changed: false,
        items: 0,
        tally: Tally::default(),
    };
    let mut out = Vec::new();
    match repair.message(message, body, 0, &mut out) {
        Ok(_) => Ok(Repaired {
            body: out,
            changed: repair.changed,
            items: repair.items,
            tally: repair.tally,
        }),
        Err(flaw) => Err(repair.locate(&flaw)),
    }
}

/// Why a message cannot be read at all.
enum Flaw {
    Wire(WireError),
    WireType { found: u8, expected: u8 },
    PackedContent,
}

impl From<WireError> for Flaw {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(out),
            Self::WireType { found, expected } => {
                write!(out, "wire type {found} where {expected} is expected")
            }
            Self::PackedContent => write!(out, "packed values are cut off"),
        }
    }
}

/// What becomes of a message inside its parent.
enum Verdict {
    Keep,
    LeaveOut(Reason),
    /// All items below were left out, and with them what held them.
    Emptied,
}

struct Repair<'l> {
    limits: &'l Limits,
    /// The fields that lead to where the pass stands, with the place in a repeated one.
    path: Vec<(&'static Field, usize)>,
    changed: bool,
    items: u64,
    tally: Tally,
}

/// The message that is being rewritten, and what is known of it.
struct Frame {
    message: &'static Message,
    /// How many lists and maps are around it; see `Limits::is_too_deep`.
    depth: usize,
    attributes: usize,
    /// The first id that is wrong, and which ids there are.
    bad_id: Option<Reason>,
    seen: [bool; 3],
    /// Items, or scopes with items, that were kept and left out.
    kept: bool,
    lost: bool,
    /// How much was left out of lists, by the number of the field that counts it.
    left_out: Vec<(u32, u64)>,
}

impl Frame {
    fn new(message: &'static Message, depth: usize) -> Self {
        Self {
            message,
            depth,
            attributes: 0,
            bad_id: None,
            seen: [false; 3],
            kept: false,
            lost: false,
            left_out: Vec::new(),
        }
    }

    fn leave_out(&mut self, list: &Field) {
        if list.dropped_count == 0 {
            return;
        }
        let count = self
            .left_out
            .iter_mut()
            .find(|(number, _)| *number == list.dropped_count);
        match count {
            Some((_, count)) => *count += 1,
            None => self.left_out.push((list.dropped_count, 1)),
        }
    }
}

impl Repair<'_> {
    fn locate(&self, flaw: &Flaw) -> String {
        let mut text = String::new();
        for (field, place) in &self.path {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&snake_case(field.name));
            if field.repeated && !field.is_packed() {
                text.push_str(&format!("[{place}]"));
            }
        }
        match text.is_empty() {
            true => format!("{flaw}"),
            false => format!("{text}: {flaw}"),
        }
    }

    fn message(
        &mut self,
        message: &'static Message,
        body: &[u8],
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Flaw> {
        let start = out.len();
        let mut frame = Frame::new(message, depth);
        let mut places = [0; 17];
        for field in fields(body) {
            let field = field?;
            match message.by_number(field.number) {
                Some(known) => {
                    let place = &mut places[known.number as usize];
                    self.path.push((known, *place));
                    *place += 1;
                    self.field(&mut frame, known, &field, out)?;
                    self.path.pop();
                }
                None => {
                    if message.role == Role::ResourceItems && field.number == LEGACY_LIBRARY {
                        self.tally.add(Reason::LegacyInstrumentationLibrary);
                    }
                    out.extend_from_slice(field.raw);
                }
            }
        }
        for (number, count) in &frame.left_out {
            raise_count(out, start, *number, *count);
        }
        Ok(self.verdict(&frame))
    }

    /// Judges a message after its fields.
    fn verdict(&mut self, frame: &Frame) -> Verdict {
        let role = frame.message.role;
        let missing = |id: Id| {
            let missing = role.needs_ids() && !frame.seen[id as usize];
            missing.then(|| bad_id(role, id))
        };
        let reason = frame.bad_id.or(missing(Id::Trace)).or(missing(Id::Span));
        match reason {
            Some(reason) => Verdict::LeaveOut(reason),
            None if role.holds_items() && frame.lost && !frame.kept => Verdict::Emptied,
            None => {
                self.items += u64::from(role.counts());
                Verdict::Keep
            }
        }
    }

    fn field(
        &mut self,
        frame: &mut Frame,
        known: &'static Field,
        field: &wire::Field<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Flaw> {
        let Value::Bytes(value) = field.value else {
            return number(known, field, out);
        };
        match known.kind {
            Kind::Message(child) => return self.child(frame, known, child, field.raw, value, out),
            Kind::String | Kind::Key => self.text(known, field.raw, value, out),
            Kind::Bytes => self.bytes(field, value, out),
            Kind::Id(id) => self.id(frame, id, field.raw, value, out),
            _ if !known.repeated => {
                return Err(Flaw::WireType {
                    found: 2,
                    expected: known.kind.wire_type(),
                });
            }
            _ if is_packed_content(known, value) => out.extend_from_slice(field.raw),
            _ => return Err(Flaw::PackedContent),
        }
        Ok(())
    }

    fn child(
        &mut self,
        frame: &mut Frame,
        known: &'static Field,
        child: &'static Message,
        raw: &[u8],
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Flaw> {
        if known.is_attributes {
            frame.attributes += 1;
            if frame.attributes > self.limits.max_attributes {
                self.note(Reason::AttributeDropped);
                frame.leave_out(known);
                return Ok(());
            }
        }
        let depth = frame.depth + child.nests();
        if self.limits.is_too_deep(child, depth) {
            self.note(Reason::TooDeep);
            return Ok(());
        }
        let clean = match child.role.is_item() {
            true => clean_items(child, value, self.limits),
            false => None,
        };
        if let Some(items) = clean {
            self.items += items;
            frame.kept = true;
            out.extend_from_slice(raw);
            return Ok(());
        }
        let (at, before) = (out.len(), self.tally);
        let mut verdict = Verdict::Keep;
        try_put_message(out, known.number, |out| {
            verdict = self.message(child, value, depth, out)?;
            Ok::<_, Flaw>(())
        })?;
        match verdict {
            Verdict::Keep => frame.kept |= known.repeated,
            Verdict::Emptied => {
                out.truncate(at);
                frame.lost = true;
            }
            Verdict::LeaveOut(reason) => {
                out.truncate(at);
                self.tally = before;
                self.note(reason);
                self.tally.rejected += u64::from(child.role.is_item());
                frame.lost = true;
                frame.leave_out(known);
            }
        }
        Ok(())
    }

    fn note(&mut self, reason: Reason) {
        self.tally.add(reason);
        self.changed = true;
    }

    fn text(&mut self, known: &Field, raw: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let (max_bytes, reason) = match known.kind {
            Kind::Key => (self.limits.max_key_bytes, Reason::KeyTruncated),
            _ => (self.limits.max_value_bytes, Reason::ValueTruncated),
        };
        let text = String::from_utf8_lossy(value);
        if let Cow::Owned(_) = text {
            self.note(Reason::InvalidUtf8);
        } else if text.len() <= max_bytes {
            return out.extend_from_slice(raw);
        }
        if text.len() > max_bytes {
            self.note(reason);
        }
        let mut end = max_bytes.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        put_bytes_field(out, known.number, &text.as_bytes()[..end]);
    }

    fn bytes(&mut self, field: &wire::Field<'_>, value: &[u8], out: &mut Vec<u8>) {
        match value.get(..self.limits.max_value_bytes) {
            Some(cut) if cut.len() < value.len() => {
                self.note(Reason::ValueTruncated);
                put_bytes_field(out, field.number, cut);
            }
            _ => out.extend_from_slice(field.raw),
        }
    }

    /// Remembers a bad id, or leaves it out where its message can do without. One bad id among several of a kind is
    /// enough: other readers may stop at it.
    fn id(&mut self, frame: &mut Frame, id: Id, raw: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let role = frame.message.role;
        frame.seen[id as usize] = true;
        if id_fits(role, id, value) {
            out.extend_from_slice(raw);
        } else if role == Role::Exemplar {
            self.note(Reason::InvalidExemplarId);
        } else if id == Id::Parent && value.iter().all(|byte| *byte == 0) {
            self.note(Reason::ZeroParentSpanId);
        } else {
            frame.bad_id.get_or_insert(bad_id(role, id));
        }
    }
}

fn bad_id(role: Role, id: Id) -> Reason {
    match (role, id) {
        (Role::Link, _) => Reason::InvalidLink,
        (_, Id::Trace) => Reason::InvalidTraceId,
        (_, Id::Span) => Reason::InvalidSpanId,
        (_, Id::Parent) => Reason::InvalidParentSpanId,
    }
}

/// A value that is not length-delimited: a number, by itself or one of an unpacked list.
fn number(known: &Field, field: &wire::Field<'_>, out: &mut Vec<u8>) -> Result<(), Flaw> {
    let found = wire_type(field.value);
    let expected = known.kind.wire_type();
    if found != expected && !is_unpacked(known, field.value) {
        return Err(Flaw::WireType { found, expected });
    }
    out.extend_from_slice(field.raw);
    Ok(())
}

/// Adds `more` to the counter field `number` of the message that begins at `start`; rare, so it copies.
fn raise_count(out: &mut Vec<u8>, start: usize, number: u32, more: u64) {
    let body = out.split_off(start);
    let mut count = 0;
    for field in fields(&body).flatten() {
        if field.number == number {
            count = field.value.number();
        } else {
            out.extend_from_slice(field.raw);
        }
    }
    put_varint_field(
        out,
        number,
        count.saturating_add(more).min(u64::from(u32::MAX)),
    );
}
