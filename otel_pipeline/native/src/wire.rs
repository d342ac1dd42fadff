//! The protobuf wire format: reading fields without copying, writing them into a buffer.
//! Knows nothing of OTLP. Source: protobuf.dev "Encoding".
#![forbid(unsafe_code)]

/// What is wrong with bytes that are not protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    Truncated,
    VarintTooLong,
    BadWireType(u8),
    ZeroField,
}

impl std::fmt::Display for WireError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => write!(out, "truncated message"),
            Self::VarintTooLong => write!(out, "varint too long"),
            Self::BadWireType(wire_type) => write!(out, "unsupported wire type {wire_type}"),
            Self::ZeroField => write!(out, "field number 0 or above the protobuf limit"),
        }
    }
}

impl std::error::Error for WireError {}

pub type Result<T> = std::result::Result<T, WireError>;

/// One field value, borrowed from the message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    /// A deprecated group (wire types 3 and 4), its delimiters left out: carried, never read. Groups in groups are not
    /// accepted: no OTLP message has any, and other readers stop at 100 nested messages.
    Group(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited value; empty for any other wire type.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// The number of a varint or fixed value; 0 for any other wire type.
    #[inline]
    pub fn number(self) -> u64 {
        match self {
            Value::Varint(number) | Value::Fixed64(number) => number,
            Value::Fixed32(number) => u64::from(number),
            _ => 0,
        }
    }
}

/// One field of a message and the bytes it occupies, tag included.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
    /// Tag, length and value as they stand in the message.
    pub raw: &'a [u8],
}

/// Bytes of the longest tag or length: both are 32-bit numbers, and other readers accept no more.
const SHORT: usize = 5;

/// Iterates over the fields of one message; stops after the first error.
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

/// The fields of `message`, in wire order.
#[inline]
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { message, at: 0 }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn read(&mut self) -> Result<Field<'a>> {
        if let Some(field) = self.short() {
            return Ok(field);
        }
        self.long()
    }

    /// The most frequent field: one byte of tag, one of length, then bytes. None for any other.
    #[inline(always)]
    fn short(&mut self) -> Option<Field<'a>> {
        let message = self.message.get(self.at..)?;
        let (&tag, &length) = (message.first()?, message.get(1)?);
        if tag & 7 != 2 || !(8..0x80).contains(&tag) || length >= 0x80 {
            return None;
        }
        let raw = message.get(..2 + usize::from(length))?;
        self.at += raw.len();
        Some(Field {
            number: u32::from(tag >> 3),
            value: Value::Bytes(&raw[2..]),
            raw,
        })
    }

    fn long(&mut self) -> Result<Field<'a>> {
        let start = self.at;
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.length()?;
                Value::Bytes(self.take(length)?)
            }
            3 => self.group(number)?,
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(WireError::BadWireType(other)),
        };
        Ok(Field {
            number,
            value,
            raw: &self.message[start..self.at],
        })
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8)> {
        let tag = self.varint_of(SHORT)?;
        let number = tag >> 3;
        if number == 0 || number > 0x1FFF_FFFF {
            return Err(WireError::ZeroField);
        }
        Ok((number as u32, (tag & 7) as u8))
    }

    #[inline]
    fn length(&mut self) -> Result<usize> {
        usize::try_from(self.varint_of(SHORT)?).map_err(|_| WireError::Truncated)
    }

    /// Skips a group up to its end tag.
    fn group(&mut self, number: u32) -> Result<Value<'a>> {
        let start = self.at;
        loop {
            let before = self.at;
            let (inner, wire_type) = self.tag()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => {
                    let length = self.length()?;
                    self.take(length)?;
                }
                4 if inner == number => return Ok(Value::Group(&self.message[start..before])),
                5 => drop(self.take(4)?),
                other => return Err(WireError::BadWireType(other)),
            }
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64> {
        self.varint_of(10)
    }

    /// A varint of at most `max_bytes` bytes.
    #[inline]
    fn varint_of(&mut self, max_bytes: usize) -> Result<u64> {
        let bytes = &self.message[self.at..];
        match bytes.first() {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(max_bytes),
        }
    }

    fn long_varint(&mut self, max_bytes: usize) -> Result<u64> {
        let mut value = 0u64;
        for shift in 0..max_bytes {
            let byte = *self
                .message
                .get(self.at + shift)
                .ok_or(WireError::Truncated)?;
            value |= u64::from(byte & 0x7f).wrapping_shl(7 * shift as u32);
            if byte < 0x80 {
                self.at += shift + 1;
                return Ok(value);
            }
        }
        Err(WireError::VarintTooLong)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(WireError::Truncated)?;
        let taken = self.message.get(self.at..end).ok_or(WireError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
}

/// The varint at the start of `bytes`, and what follows it.
#[inline]
pub fn varint(bytes: &[u8]) -> Result<(u64, &[u8])> {
    let mut reader = fields(bytes);
    let value = reader.varint()?;
    Ok((value, &bytes[reader.at..]))
}

/// The value of a length-delimited field, from its length on, and what follows it.
#[inline]
pub fn delimited(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut reader = fields(bytes);
    let length = reader.length()?;
    let rest = &bytes[reader.at..];
    rest.split_at_checked(length).ok_or(WireError::Truncated)
}

/// The bytes a varint takes.
#[inline]
pub fn varint_len(value: u64) -> usize {
    ((63 - (value | 1).leading_zeros()) as usize) / 7 + 1
}

/// A signed number as `sint32` and `sint64` write it, for `put_varint`.
#[inline]
pub fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
pub fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

#[inline]
pub fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, 0);
    put_varint(out, value);
}

#[inline]
pub fn put_fixed64_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub fn put_bytes_field(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_tag(out, number, 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Writes a sub-message whose length is known only after `body` has run.
/// One length byte is reserved; longer messages are moved up by the difference.
#[inline]
pub fn put_message(out: &mut Vec<u8>, number: u32, body: impl FnOnce(&mut Vec<u8>)) {
    put_tag(out, number, 2);
    let at = out.len();
    out.push(0);
    body(out);
    finish_length(out, at);
}

/// As `put_message`, for a body that can fail; `out` is then left as it was before.
#[inline]
pub fn try_put_message<E>(
    out: &mut Vec<u8>,
    number: u32,
    body: impl FnOnce(&mut Vec<u8>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let before = out.len();
    put_tag(out, number, 2);
    let at = out.len();
    out.push(0);
    if let Err(error) = body(out) {
        out.truncate(before);
        return Err(error);
    }
    finish_length(out, at);
    Ok(())
}

#[inline]
fn finish_length(out: &mut Vec<u8>, at: usize) {
    let length = out.len() - at - 1;
    if length < 0x80 {
        out[at] = length as u8;
        return;
    }
    let extra = varint_len(length as u64) - 1;
    out.resize(out.len() + extra, 0);
    out.copy_within(at + 1..at + 1 + length, at + 1 + extra);
    let mut value = length as u64;
    for slot in &mut out[at..at + extra] {
        *slot = value as u8 | 0x80;
        value >>= 7;
    }
    out[at + extra] = value as u8;
}
