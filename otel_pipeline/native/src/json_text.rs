//! A cursor over JSON text: strings, numbers, literals, and skipping a value of any depth without recursion.
//! Knows nothing of OTLP. Source: RFC 8259; bytes that are not UTF-8 are passed on for the reader of the text to mend.
#![forbid(unsafe_code)]

use std::borrow::Cow;

/// What is wrong with a text, and at which byte.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub what: &'static str,
    pub at: usize,
}

pub type Result<T> = std::result::Result<T, Fault>;

/// No sender writes longer numbers; it bounds what one number may cost.
const MAX_NUMBER_LENGTH: usize = 1100;

pub struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Texts with an escaped surrogate that has no partner; it was read as U+FFFD.
    pub lone_surrogates: u64,
}

impl<'a> Text<'a> {
    /// Starts after a byte order mark, where there is one.
    pub fn new(bytes: &'a [u8]) -> Self {
        let at = if bytes.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        Self {
            bytes,
            at,
            lone_surrogates: 0,
        }
    }

    pub fn fault<T>(&self, what: &'static str) -> Result<T> {
        let cut_off = self.at >= self.bytes.len();
        Err(Fault {
            what: if cut_off { "the text is cut off" } else { what },
            at: self.at.min(self.bytes.len()),
        })
    }

    /// As `fault`, at an earlier place.
    pub fn fault_at<T>(at: usize, what: &'static str) -> Result<T> {
        Err(Fault { what, at })
    }

    pub fn position(&self) -> usize {
        self.at
    }

    /// The next byte that is not white space, without taking it.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes `byte` where it is next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    #[inline]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<()> {
        match self.take(byte) {
            true => Ok(()),
            false => self.fault(what),
        }
    }

    /// After a value in a list or an object: true where another follows, false at its end.
    #[inline]
    pub fn more(&mut self, close: u8) -> Result<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => self.fault("a comma or the end of the list or object is expected"),
        }
    }

    /// The key of a member, with its colon.
    #[inline]
    pub fn key(&mut self) -> Result<Cow<'a, [u8]>> {
        if self.peek() != Some(b'"') {
            return self.fault("a key in quotes is expected");
        }
        let key = self.string()?;
        self.expect(b':', "a colon is expected")?;
        Ok(key)
    }

    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fault("text after the end of the request"),
        }
    }

    pub fn literal(&mut self, word: &'static str) -> Result<()> {
        let word = word.as_bytes();
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        if word.starts_with(&self.bytes[self.at..]) {
            self.at = self.bytes.len();
        }
        self.fault("a value is expected")
    }

    /// A string, borrowed where it holds no escapes.
    #[inline]
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        self.expect(b'"', "a string is expected")?;
        let start = self.at;
        self.at += plain_length(&self.bytes[start..]);
        let plain = &self.bytes[start..self.at];
        match self.bytes.get(self.at) {
            Some(b'"') => {
                self.at += 1;
                Ok(Cow::Borrowed(plain))
            }
            Some(b'\\') => self.escaped_string(plain.to_vec()).map(Cow::Owned),
            _ => self.fault("a control character in a string"),
        }
    }

    fn escaped_string(&mut self, mut text: Vec<u8>) -> Result<Vec<u8>> {
        let lone_before = self.lone_surrogates;
        loop {
            let start = self.at;
            self.at += plain_length(&self.bytes[start..]);
            text.extend_from_slice(&self.bytes[start..self.at]);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    self.lone_surrogates = self.lone_surrogates.min(lone_before + 1);
                    return Ok(text);
                }
                Some(b'\\') => self.escape(&mut text)?,
                _ => return self.fault("a control character in a string"),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<()> {
        self.at += 1;
        let byte = match self.bytes.get(self.at) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode_escape(text),
            _ => return self.fault("an unknown escape in a string"),
        };
        self.at += 1;
        text.push(byte);
        Ok(())
    }

    /// `\uXXXX`, or two of them for a character outside the first plane.
    fn unicode_escape(&mut self, text: &mut Vec<u8>) -> Result<()> {
        self.at += 1;
        let mut unit = self.four_hex_digits()?;
        if (0xd800..0xdc00).contains(&unit) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.four_hex_digits()?;
            match (0xdc00..0xe000).contains(&low) {
                true => unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                false => self.at = back,
            }
        }
        let character = char::from_u32(unit).unwrap_or_else(|| {
            self.lone_surrogates += 1;
            char::REPLACEMENT_CHARACTER
        });
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn four_hex_digits(&mut self) -> Result<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self
                .bytes
                .get(self.at)
                .and_then(|byte| char::from(*byte).to_digit(16));
            let Some(digit) = digit else {
                return self.fault("four hex digits are expected after \\u");
            };
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }

    /// A number as it is written.
    pub fn number(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        match self.at - start <= MAX_NUMBER_LENGTH {
            true => Ok(&self.bytes[start..self.at]),
            false => Self::fault_at(start, "a number of more than 1100 characters"),
        }
    }

    fn digits(&mut self) -> Result<()> {
        let digits = self.bytes[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        match digits.count() {
            0 => self.fault("a value is expected"),
            count => {
                self.at += count;
                Ok(())
            }
        }
    }

    /// Steps over one value of any kind. Open lists and objects cost a byte each.
    pub fn skip(&mut self) -> Result<()> {
        let mut open = Vec::new();
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    if !self.take(b'}') {
                        self.key()?;
                        open.push(b'}');
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    if !self.take(b']') {
                        open.push(b']');
                        continue;
                    }
                }
                _ => self.skip_scalar()?,
            }
            if !self.close(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Closes what ends here; true where another value follows, false after the outermost one.
    fn close(&mut self, open: &mut Vec<u8>) -> Result<bool> {
        while let Some(&close) = open.last() {
            if self.more(close)? {
                if close == b'}' {
                    self.key()?;
                }
                return Ok(true);
            }
            open.pop();
        }
        Ok(false)
    }

    fn skip_scalar(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'"') => {
                let lone = self.lone_surrogates;
                self.string()?;
                self.lone_surrogates = lone;
                Ok(())
            }
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.number().map(drop),
        }
    }
}

/// Whether `text` is a number by the rules of JSON, and nothing else.
pub fn is_number(text: &[u8]) -> bool {
    let mut number = Text {
        bytes: text,
        at: 0,
        lone_surrogates: 0,
    };
    number.number().is_ok() && number.at == text.len()
}

/// How many bytes can stand in a string as they are: up to a quote, a backslash or a control character.
#[inline]
pub fn plain_length(bytes: &[u8]) -> usize {
    let mut done = 0;
    while let Some(word) = bytes[done..].first_chunk::<8>() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return done + special.trailing_zeros() as usize / 8;
        }
        done += 8;
    }
    let rest = bytes[done..].iter();
    done + rest
        .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
        .count()
}

/// The high bit of each byte that is a quote, a backslash or below 0x20; exact for the lowest such byte.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero_in(word ^ (ONES * b'"' as u64));
    let backslash = zero_in(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGH
}
