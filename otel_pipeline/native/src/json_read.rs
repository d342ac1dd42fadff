//! OTLP/JSON to protobuf in one pass over the text. Source: opentelemetry-proto `docs/specification.md`, "JSON Protobuf
//! Encoding": hex ids, enums as integers, lowerCamelCase names only, unknown fields ignored.
//! What an item may hold is not judged here but by the checks that every protobuf request passes.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::findings::{Reason, Tally};
use crate::json_text::{Fault, Result, Text, is_number};
use crate::limits::Limits;
use crate::schema::{Field, Kind, LEGACY_LIBRARY_NAMES, Message, Presence, Role};
use crate::wire::{put_bytes_field, put_tag, put_varint, try_put_message};

/// Stands for an id that is not hex: its length is wrong, so the checks reject the item that has it.
const NO_ID: &[u8] = &[0xff];

/// The protobuf bytes of `text`, a message of the given type. The error says where the text cannot be read, and why.
pub fn read(
    message: &'static Message,
    text: &[u8],
    limits: &Limits,
) -> std::result::Result<(Vec<u8>, Tally), String> {
    let mut reader = Reader {
        text: Text::new(text),
        limits,
        path: Vec::new(),
        tally: Tally::default(),
    };
    let mut out = Vec::with_capacity(text.len() / 3);
    let read = reader
        .message(message, 0, &mut out)
        .and_then(|()| reader.text.end());
    match read {
        Ok(()) => {
            for _ in 0..reader.text.lone_surrogates {
                reader.tally.add(Reason::InvalidUtf8);
            }
            Ok((out, reader.tally))
        }
        Err(fault) => Err(reader.locate(&fault)),
    }
}

struct Reader<'a> {
    text: Text<'a>,
    limits: &'a Limits,
    /// The fields that lead to where the reader stands, with the place in a repeated one.
    path: Vec<(&'static Field, Option<usize>)>,
    tally: Tally,
}

impl<'a> Reader<'a> {
    fn locate(&self, fault: &Fault) -> String {
        let mut text = String::new();
        for (field, place) in &self.path {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(field.name);
            if let Some(place) = place {
                text.push_str(&format!("[{place}]"));
            }
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        format!("{text}{} (byte {})", fault.what, fault.at)
    }

    fn message(
        &mut self,
        message: &'static Message,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.text.expect(b'{', "an object is expected")?;
        if self.text.take(b'}') {
            return Ok(());
        }
        let (mut seen, mut likely) = (0u32, 0);
        loop {
            let key = self.text.key()?;
            match find(message, &key, likely) {
                Some(place) => {
                    let field = &message.fields[place];
                    let again = seen & 1 << place != 0;
                    seen |= 1 << place;
                    likely = place + 1;
                    self.path.push((field, None));
                    self.field(field, again, depth, out)?;
                    self.path.pop();
                }
                None => {
                    let legacy = LEGACY_LIBRARY_NAMES
                        .iter()
                        .any(|name| name.as_bytes() == &*key);
                    if legacy && message.role == Role::ResourceItems {
                        self.tally.add(Reason::LegacyInstrumentationLibrary);
                    }
                    self.text.skip()?;
                }
            }
            if !self.text.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// One member. A default is written only where it tells something: for a field with presence, or to replace what
    /// the same key said before.
    fn field(
        &mut self,
        field: &'static Field,
        again: bool,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if self.text.peek() == Some(b'n') {
            return self.text.literal("null");
        }
        if field.repeated {
            return self.list(field, depth, out);
        }
        let keep_default = again || field.presence != Presence::Implicit;
        self.value(field, keep_default, depth, out)
    }

    fn list(&mut self, field: &'static Field, depth: usize, out: &mut Vec<u8>) -> Result<()> {
        self.text.expect(b'[', "a list is expected")?;
        if self.text.take(b']') {
            return Ok(());
        }
        if field.is_packed() {
            return try_put_message(out, field.number, |out| {
                self.elements(|reader| reader.number(field.kind, true, out, None))
            });
        }
        self.elements(|reader| {
            if reader.text.peek() == Some(b'n') {
                put_bytes_field(out, field.number, &[]);
                return reader.text.literal("null");
            }
            reader.value(field, true, depth, out)
        })
    }

    /// Calls `element` for each, the path pointing at it; the list has been opened and is not empty.
    fn elements(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        for place in 0.. {
            if let Some(step) = self.path.last_mut() {
                step.1 = Some(place);
            }
            element(self)?;
            if !self.text.more(b']')? {
                break;
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        field: &'static Field,
        keep_default: bool,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        match field.kind {
            Kind::Message(child) => {
                let depth = depth + child.nests();
                if self.limits.is_too_deep(child, depth) {
                    self.tally.add(Reason::TooDeep);
                    return self.text.skip();
                }
                try_put_message(out, field.number, |out| self.message(child, depth, out))
            }
            Kind::String | Kind::Key => {
                let text = self.text.string()?;
                put_if(out, field.number, &text, keep_default);
                Ok(())
            }
            Kind::Id(_) => {
                let text = self.text.string()?;
                let id = from_hex(&text).unwrap_or_else(|| NO_ID.to_vec());
                put_if(out, field.number, &id, keep_default);
                Ok(())
            }
            Kind::Bytes => {
                self.text.peek();
                let at = self.text.position();
                let text = self.text.string()?;
                let Some(bytes) = from_base64(&text) else {
                    return Text::fault_at(at, "not base64");
                };
                put_if(out, field.number, &bytes, keep_default);
                Ok(())
            }
            kind => self.number(kind, keep_default, out, Some(field.number)),
        }
    }

    /// Reads a number or bool and writes it, with its tag where `field_number` is given.
    fn number(
        &mut self,
        kind: Kind,
        keep_default: bool,
        out: &mut Vec<u8>,
        field_number: Option<u32>,
    ) -> Result<()> {
        let bits = match self.text.peek() {
            Some(b'n') if field_number.is_none() => self.text.literal("null").map(|()| 0)?,
            _ => match kind {
                Kind::Bool => self.boolean()?,
                Kind::Double => self.double()?.to_bits(),
                _ => self.integer(kind)?,
            },
        };
        if bits == 0 && !keep_default {
            return Ok(());
        }
        if let Some(number) = field_number {
            put_tag(out, number, kind.wire_type());
        }
        match kind.wire_type() {
            1 => out.extend_from_slice(&bits.to_le_bytes()),
            5 => out.extend_from_slice(&(bits as u32).to_le_bytes()),
            _ => put_varint(out, bits),
        }
        Ok(())
    }

    fn boolean(&mut self) -> Result<u64> {
        match self.text.peek() {
            Some(b't') => self.text.literal("true").map(|()| 1),
            Some(b'f') => self.text.literal("false").map(|()| 0),
            _ => self.text.fault("true or false is expected"),
        }
    }

    /// An integer as its kind puts it on the wire. 64-bit ones may come as strings; so may, as in protobuf's own
    /// mapping, the others. An enum may not: there a string would be a name.
    fn integer(&mut self, kind: Kind) -> Result<u64> {
        let (low, high) = range(kind);
        let at = match self.text.peek() {
            Some(b'"') if matches!(kind, Kind::Enum) => {
                return self
                    .text
                    .fault("an enum is written as an integer, not as a name");
            }
            _ => self.text.position(),
        };
        let (token, _) = self.number_token("an integer is expected")?;
        let Some(value) = integral(&token) else {
            return Text::fault_at(at, "an integer is expected");
        };
        if value < low || value > high {
            return Text::fault_at(at, "the integer is out of range");
        }
        Ok(match kind {
            Kind::Sint32 => ((value << 1) ^ (value >> 31)) as u32 as u64,
            _ => value as u64,
        })
    }

    fn double(&mut self) -> Result<f64> {
        self.text.peek();
        let at = self.text.position();
        let (token, named) = self.number_token("a number is expected")?;
        if let Some(named) = named {
            return Ok(named);
        }
        let value = std::str::from_utf8(&token)
            .ok()
            .and_then(|token| token.parse().ok());
        match value {
            Some(value) if f64::is_finite(value) => Ok(value),
            _ => Text::fault_at(at, "the number is out of range"),
        }
    }

    /// A number as it is written, in quotes or not; or one of the names that only doubles have.
    fn number_token(&mut self, what: &'static str) -> Result<(Cow<'a, [u8]>, Option<f64>)> {
        match self.text.peek() {
            Some(b'-' | b'0'..=b'9') => Ok((Cow::Borrowed(self.text.number()?), None)),
            Some(b'"') => {
                let at = self.text.position();
                let token = self.text.string()?;
                let named = match &*token {
                    b"NaN" => Some(f64::NAN),
                    b"Infinity" => Some(f64::INFINITY),
                    b"-Infinity" => Some(f64::NEG_INFINITY),
                    number if is_number(number) => None,
                    _ => return Text::fault_at(at, what),
                };
                Ok((token, named))
            }
            _ => self.text.fault(what),
        }
    }
}

/// The place of the field that is called `name`; `likely` is where to look first.
#[inline]
fn find(message: &'static Message, name: &[u8], likely: usize) -> Option<usize> {
    let is_it = |place: &usize| {
        let field = message.fields.get(*place);
        field.is_some_and(|field| field.name.as_bytes() == name)
    };
    (likely..message.fields.len()).chain(0..likely).find(is_it)
}

#[inline]
fn put_if(out: &mut Vec<u8>, number: u32, value: &[u8], keep_default: bool) {
    if keep_default || !value.is_empty() {
        put_bytes_field(out, number, value);
    }
}

fn range(kind: Kind) -> (i128, i128) {
    match kind {
        Kind::Int64 | Kind::Sfixed64 => (i64::MIN.into(), i64::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => (0, u64::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => (0, u32::MAX.into()),
        _ => (i32::MIN.into(), i32::MAX.into()),
    }
}

/// The value of a JSON number that is whole, whatever its notation: `1.5e1` is 15. None for others and for huge ones.
fn integral(number: &[u8]) -> Option<i128> {
    let number = std::str::from_utf8(number).ok()?;
    if let Ok(value) = number.parse::<i64>() {
        return Some(value.into());
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let mut shift = exponent.parse::<i64>().ok()? - fraction.len() as i64;
    let digits = format!("{whole}{fraction}");
    let mut digits = digits.as_str();
    while shift < 0 && digits.ends_with('0') {
        digits = &digits[..digits.len() - 1];
        shift += 1;
    }
    if digits.trim_matches(['-', '0']).is_empty() {
        return Some(0);
    }
    let scale = 10i128.checked_pow(u32::try_from(shift).ok()?)?;
    digits.parse::<i128>().ok()?.checked_mul(scale)
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = text.chunks(2).map(|pair| match *pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    });
    bytes.collect()
}

/// Standard or URL-safe, padded or not.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let standard = text.iter().map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    });
    ENGINE.decode(standard.collect::<Vec<_>>()).ok()
}
