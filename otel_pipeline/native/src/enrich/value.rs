//! Values of canonical attributes: what counts as one, how it is written in its one form, how it is encoded.
#![forbid(unsafe_code)]

use regex::RegexSet;
use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::memo::Memo;
use crate::matcher::glob_to_regex;
use crate::otlp::{AnyValue, any, key_value, text};
use crate::wire::{
    put_bytes_field, put_message, put_tag, put_varint, put_varint_field, varint_len,
};

/// A value of a canonical attribute, borrowed from the batch or the plan.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    Text(&'a str),
    /// Text that the sender wrote as a number; it is formatted only when it is written.
    Number(i64),
    Bool(bool),
}

impl PartialEq for Value<'_> {
    /// A number is the text that it is written as.
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Number(one), Self::Number(other)) => one == other,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Number(number), Self::Text(text)) | (Self::Text(text), Self::Number(number)) => {
                decimal(number, &mut [0; DIGITS]) == text
            }
            _ => false,
        }
    }
}

impl<'a> Value<'a> {
    /// The value of an attribute; None for what counts as absent: empty text, and all that is not text, int or bool.
    #[inline]
    pub fn of(value: AnyValue<'a>) -> Option<Self> {
        match value {
            AnyValue::Str("") => None,
            AnyValue::Str(text) => Some(Self::Text(text)),
            AnyValue::Int(number) => Some(Self::Number(number)),
            AnyValue::Bool(flag) => Some(Self::Bool(flag)),
            _ => None,
        }
    }

    /// Calls `read` with the value as an attribute would have it.
    pub fn with_any<R>(self, read: impl FnOnce(AnyValue<'_>) -> R) -> R {
        match self {
            Self::Bool(flag) => read(AnyValue::Bool(flag)),
            Self::Text(text) => read(AnyValue::Str(text)),
            Self::Number(number) => read(AnyValue::Str(decimal(number, &mut [0; DIGITS]))),
        }
    }

    /// Writes a KeyValue message as field `field`; `key` is the encoded key (`encoded_key`).
    #[inline]
    pub fn put_key_value(self, field: u32, key: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => put_text(field, key, text, out),
            Self::Number(number) => put_text(field, key, decimal(number, &mut [0; DIGITS]), out),
            Self::Bool(flag) => {
                put_tag(out, field, 2);
                put_varint(out, key.len() as u64 + 4);
                out.extend_from_slice(key);
                put_message(out, key_value::VALUE, |out| {
                    put_varint_field(out, any::BOOL, u64::from(flag));
                });
            }
        }
    }
}

/// Bytes of the longest `decimal`.
const DIGITS: usize = 20;

/// A number as text.
fn decimal(number: i64, buffer: &mut [u8; DIGITS]) -> &str {
    let mut rest = number.unsigned_abs();
    let mut at = DIGITS;
    for slot in buffer.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
        at -= 1;
        if rest == 0 {
            break;
        }
    }
    if number < 0 && at > 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    text(&buffer[at..])
}

/// The key field of a KeyValue message, for `put_key_value`.
pub fn encoded_key(key: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes_field(&mut out, key_value::KEY, key.as_bytes());
    out
}

/// Lengths are added up before anything is written: this runs several times for every span.
#[inline]
fn put_text(field: u32, key: &[u8], text: &str, out: &mut Vec<u8>) {
    let value = 1 + varint_len(text.len() as u64) + text.len();
    let message = key.len() + 1 + varint_len(value as u64) + value;
    out.reserve(message + 8);
    put_tag(out, field, 2);
    put_varint(out, message as u64);
    out.extend_from_slice(key);
    put_tag(out, key_value::VALUE, 2);
    put_varint(out, value as u64);
    put_bytes_field(out, any::STRING, text.as_bytes());
}

/// What values an attribute takes, as the compiler writes it.
#[derive(Debug, Deserialize)]
pub struct DomainSpec {
    pub boolean: bool,
    /// Folded spellings and the member each stands for.
    pub members: Vec<(String, String)>,
    /// Folded globs, in the order in which they are tried.
    pub globs: Vec<(String, String)>,
    pub other: Option<String>,
    pub low_cardinality: Option<LowCardinality>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LowCardinality {
    Identifier,
    Name,
}

/// What values an attribute takes.
#[derive(Debug)]
pub struct Domain {
    boolean: bool,
    /// What values become.
    forms: Vec<String>,
    /// Folded spellings, each with the index of its form.
    members: FxHashMap<Box<[u8]>, u32>,
    /// All globs at once: names that fit none are the costly ones, and the most frequent.
    globs: RegexSet,
    /// The form for each glob.
    glob_forms: Vec<u32>,
    other: Option<u32>,
    low_cardinality: Option<LowCardinality>,
    /// False where every value stays as it is.
    normalises: bool,
}

/// The one form of a text, as an index into those of its domain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    Same,
    Other(u32),
}

/// Texts above this length are no member of an enum.
const MAX_MEMBER_BYTES: usize = 256;

impl Domain {
    /// Makes a domain ready; the error is that of the globs, taken together.
    pub fn new(spec: DomainSpec) -> Result<Self, String> {
        let mut forms = Vec::new();
        let mut index = |form: String| match forms.iter().position(|one| *one == form) {
            Some(at) => at as u32,
            None => {
                forms.push(form);
                forms.len() as u32 - 1
            }
        };
        let (globs, glob_members): (Vec<_>, Vec<_>) = spec.globs.into_iter().unzip();
        let normalises = !spec.members.is_empty() || !globs.is_empty() || spec.other.is_some();
        let mut members = FxHashMap::default();
        for (folded, member) in spec.members {
            members.insert(folded.into_bytes().into_boxed_slice(), index(member));
        }
        let globs = RegexSet::new(globs.iter().map(|glob| glob_to_regex(glob)));
        Ok(Self {
            boolean: spec.boolean,
            members,
            globs: globs.map_err(|error| error.to_string())?,
            glob_forms: glob_members.into_iter().map(&mut index).collect(),
            other: spec.other.map(index),
            low_cardinality: spec.low_cardinality,
            normalises,
            forms,
        })
    }

    /// The value as this attribute takes it; None where it cannot.
    #[inline]
    pub fn admit<'a>(&self, value: Value<'a>) -> Option<Value<'a>> {
        match value {
            Value::Bool(flag) if !self.boolean => {
                Some(Value::Text(if flag { "true" } else { "false" }))
            }
            Value::Number(_) if self.boolean => None,
            Value::Text(text) if self.boolean && !matches!(text, "true" | "false") => None,
            other => Some(other),
        }
    }

    /// The one form of an admitted value: the member it stands for, or itself, or the value for all others.
    pub fn normalise<'a>(&'a self, value: Value<'a>) -> Value<'a> {
        if self.boolean {
            return match value {
                Value::Text(text) => Value::Bool(text == "true"),
                other => other,
            };
        }
        match value {
            Value::Text(text) => self.formed(value, self.form(text)),
            Value::Number(number) => {
                let form = self.form(decimal(number, &mut [0; DIGITS]));
                self.formed(value, form)
            }
            Value::Bool(_) => value,
        }
    }

    /// As `normalise`, by what is remembered of texts.
    pub fn normalise_by<'a>(&'a self, memo: &mut Memo<Form>, value: Value<'a>) -> Value<'a> {
        match value {
            Value::Text(text) if self.normalises && !self.boolean => {
                self.formed(value, memo.recall(text, || self.form(text)))
            }
            _ => self.normalise(value),
        }
    }

    /// The value in its form.
    #[inline]
    pub fn formed<'a>(&'a self, value: Value<'a>, form: Form) -> Value<'a> {
        match form {
            Form::Same => value,
            Form::Other(at) => self
                .forms
                .get(at as usize)
                .map_or(value, |form| Value::Text(form)),
        }
    }

    /// The form of a text: the member it stands for, or itself, or that for all others.
    pub fn form(&self, text: &str) -> Form {
        if !self.normalises {
            return Form::Same;
        }
        if let Some(member) = self.member(text) {
            return Form::Other(member);
        }
        match (self.low_cardinality, self.other) {
            (Some(kind), _) if is_low_cardinality(text, kind) => Form::Same,
            (_, Some(other)) => Form::Other(other),
            (_, None) => Form::Same,
        }
    }

    fn member(&self, text: &str) -> Option<u32> {
        let mut buffer = [0; MAX_MEMBER_BYTES];
        let folded = buffer.get_mut(..text.len())?;
        for (to, from) in folded.iter_mut().zip(text.bytes()) {
            *to = match from {
                b' ' | b'-' | b'.' | b'/' => b'_',
                other => other.to_ascii_lowercase(),
            };
        }
        if let Some(member) = self.members.get(&*folded) {
            return Some(*member);
        }
        if self.glob_forms.is_empty() {
            return None;
        }
        let folded = std::str::from_utf8(folded).ok()?;
        let first = self.globs.matches(folded).iter().next()?;
        self.glob_forms.get(first).copied()
    }
}

/// Short, with few digits (no ids, no counters), of letters, digits and a few signs; a name may also hold spaces,
/// braces and letters beyond ASCII.
pub fn is_low_cardinality(text: &str, kind: LowCardinality) -> bool {
    let name = kind == LowCardinality::Name;
    let mut digits = 0;
    let allowed = |byte: u8| match byte {
        b'0'..=b'9' => {
            digits += 1;
            true
        }
        b'a'..=b'z' | b'A'..=b'Z' => true,
        b'_' | b'.' | b':' | b'$' | b'-' | b'/' | b'<' | b'>' | b'(' | b')' | b'[' | b']'
        | b',' | b'#' => true,
        b' ' | b'{' | b'}' | b'*' | b'+' | b'&' | b'@' | 0x80.. => name,
        _ => false,
    };
    text.len() <= 80 && text.bytes().all(allowed) && digits <= if name { 2 } else { 6 }
}
