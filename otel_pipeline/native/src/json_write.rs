//! A protobuf request as compact OTLP/JSON, by the rules that `json_read` reads by. Unknown fields are left out.
#![forbid(unsafe_code)]

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::check::wire_type;
use crate::json_text::plain_length;
use crate::schema::{Field, Kind, Message, Presence};
use crate::wire::{self, Value, fields};

/// Deeper than any checked batch; guards the stack against bytes that were never checked.
const MAX_DEPTH: usize = 150;

/// `body`, a message of the given type, as JSON. What cannot be read is left out: a checked batch has none of it.
pub fn write(message: &'static Message, body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(body.len());
    writer.message(message, body, 0);
    writer.out
}

struct Writer<'a> {
    out: Vec<u8>,
    /// A stack: for each message that is being written, its values with the place of their field, in order of fields.
    values: Vec<(usize, Value<'a>)>,
}

impl<'a> Writer<'a> {
    fn new(protobuf_bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(protobuf_bytes * 3),
            values: Vec::new(),
        }
    }

    fn message(&mut self, message: &'static Message, body: &'a [u8], depth: usize) {
        let base = self.values.len();
        if depth < MAX_DEPTH {
            self.collect(message, body);
        }
        self.out.push(b'{');
        let mut at = base;
        while let Some(&(place, _)) = self.values.get(at) {
            let same = self.values[at..]
                .iter()
                .take_while(|value| value.0 == place)
                .count();
            self.field(&message.fields[place], at, at + same, depth);
            at += same;
        }
        self.values.truncate(base);
        close(&mut self.out, b'}');
    }

    /// Pushes the values of the known fields of `body`, grouped by field; of a oneof only the member that holds.
    fn collect(&mut self, message: &'static Message, body: &'a [u8]) {
        let base = self.values.len();
        let is_oneof = |place: usize| message.fields[place].presence == Presence::Oneof;
        for field in fields(body).flatten() {
            let known = message
                .fields
                .iter()
                .position(|known| known.number == field.number);
            let Some(place) = known.filter(|place| fits(&message.fields[*place], field.value))
            else {
                continue;
            };
            if is_oneof(place) && self.values[base..].iter().any(|value| is_oneof(value.0)) {
                let other = |value: &(usize, Value<'_>)| is_oneof(value.0) && value.0 != place;
                let kept: Vec<_> = self
                    .values
                    .drain(base..)
                    .filter(|value| !other(value))
                    .collect();
                self.values.extend(kept);
            }
            self.values.push((place, field.value));
        }
        self.values[base..].sort_by_key(|value| value.0);
    }

    /// Writes the values `from..to` of the stack, all of one field.
    fn field(&mut self, field: &'static Field, from: usize, to: usize, depth: usize) {
        if field.repeated {
            self.key(field);
            self.out.push(b'[');
            for at in from..to {
                self.element(field, self.values[at].1, depth);
            }
            close(&mut self.out, b']');
            self.out.push(b',');
            return;
        }
        let last = self.values[to - 1].1;
        match field.kind {
            Kind::Message(child) if to - from > 1 => {
                self.key(field);
                let values = &self.values[from..to];
                let parts: Vec<_> = values.iter().map(|value| value.1.bytes()).collect();
                let joined = parts.concat();
                let mut writer = Writer::new(joined.len());
                writer.message(child, &joined, depth + 1);
                self.out.extend_from_slice(&writer.out);
                self.out.push(b',');
            }
            _ if field.presence == Presence::Implicit && is_default(field.kind, last) => {}
            _ => {
                self.key(field);
                self.element(field, last, depth);
            }
        }
    }

    fn key(&mut self, field: &Field) {
        self.out.push(b'"');
        self.out.extend_from_slice(field.name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// One value and a comma; a packed list is as many as it holds.
    fn element(&mut self, field: &'static Field, value: Value<'a>, depth: usize) {
        match (field.kind, value) {
            (Kind::Message(child), Value::Bytes(body)) => self.message(child, body, depth + 1),
            (Kind::String | Kind::Key, Value::Bytes(text)) => self.text(text),
            (Kind::Bytes, Value::Bytes(bytes)) => self.quoted(&STANDARD.encode(bytes)),
            (Kind::Id(_), Value::Bytes(id)) => self.hex(id),
            (kind, Value::Bytes(content)) => return self.packed(kind, content),
            (kind, value) => self.number(kind, value.number()),
        }
        self.out.push(b',');
    }

    fn packed(&mut self, kind: Kind, content: &[u8]) {
        let mut rest = content;
        while let Some((bits, tail)) = next_number(kind, rest) {
            rest = tail;
            self.number(kind, bits);
            self.out.push(b',');
        }
    }

    fn number(&mut self, kind: Kind, bits: u64) {
        let number = match kind {
            Kind::Bool => return self.out.extend_from_slice(bool_name(bits != 0)),
            Kind::Double => return self.double(f64::from_bits(bits)),
            Kind::Int64 | Kind::Sfixed64 => return self.quoted(&(bits as i64).to_string()),
            Kind::Uint64 | Kind::Fixed64 => return self.quoted(&bits.to_string()),
            Kind::Uint32 | Kind::Fixed32 => i64::from(bits as u32),
            Kind::Sint32 => i64::from((bits as u32 >> 1) as i32 ^ -(bits as i32 & 1)),
            _ => i64::from(bits as i32),
        };
        // Writing into a Vec cannot fail.
        let _ = write!(self.out, "{number}");
    }

    fn double(&mut self, value: f64) {
        if value.is_finite() {
            return self
                .out
                .extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
        }
        self.quoted(match value {
            _ if value.is_nan() => "NaN",
            _ if value > 0.0 => "Infinity",
            _ => "-Infinity",
        });
    }

    /// Text that needs no escapes.
    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    fn hex(&mut self, id: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.out.push(b'"');
        for byte in id {
            self.out.push(DIGITS[usize::from(byte >> 4)]);
            self.out.push(DIGITS[usize::from(byte & 15)]);
        }
        self.out.push(b'"');
    }

    fn text(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let mut rest = text.as_bytes();
        self.out.push(b'"');
        loop {
            let (plain, special) = rest.split_at(plain_length(rest));
            self.out.extend_from_slice(plain);
            let [byte, tail @ ..] = special else { break };
            self.escape(*byte);
            rest = tail;
        }
        self.out.push(b'"');
    }

    fn escape(&mut self, byte: u8) {
        let letter = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                let _ = write!(self.out, "\\u{byte:04x}");
                return;
            }
        };
        self.out.extend_from_slice(&[b'\\', letter]);
    }
}

/// Ends an object or list: the comma after its last part becomes the bracket.
fn close(out: &mut Vec<u8>, bracket: u8) {
    match out.last_mut() {
        Some(last) if *last == b',' => *last = bracket,
        _ => out.push(bracket),
    }
}

/// Whether a value has a wire type that its field can have.
fn fits(field: &Field, value: Value<'_>) -> bool {
    let wire_type = wire_type(value);
    wire_type == field.kind.wire_type() || field.is_packed() && wire_type == 2
}

fn bool_name(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

fn is_default(kind: Kind, value: Value<'_>) -> bool {
    match (kind, value) {
        (Kind::Message(_), _) => false,
        (_, Value::Bytes(bytes)) => bytes.is_empty(),
        (_, value) => value.number() == 0,
    }
}

/// The next number of a packed list, and what follows it.
fn next_number(kind: Kind, rest: &[u8]) -> Option<(u64, &[u8])> {
    match kind.wire_type() {
        1 => {
            let (number, tail) = rest.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*number), tail))
        }
        5 => {
            let (number, tail) = rest.split_first_chunk::<4>()?;
            Some((u32::from_le_bytes(*number).into(), tail))
        }
        _ => wire::varint(rest).ok(),
    }
}
