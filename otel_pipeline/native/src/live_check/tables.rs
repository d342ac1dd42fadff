//! Counts by what was found where, in tables that senders cannot make grow without end.
#![forbid(unsafe_code)]

use super::value::Type;
use crate::aggregate::hash::HashMap;

/// A text of a sender as a number.
pub type Symbol = u32;
/// The empty text, which also stands for what is not to be shown.
pub const NOTHING: Symbol = 0;
/// All texts above the limit.
pub const OTHER: Symbol = 1;
pub const OTHER_TEXT: &str = "_other";

/// Longer texts are cut, at the start of a character.
const MAX_TEXT_BYTES: usize = 128;

/// Names of signals, services, scopes and units, up to a limit.
pub struct Names {
    texts: Vec<Box<str>>,
    symbols: HashMap<Box<[u8]>, Symbol>,
    limit: usize,
}

impl Names {
    pub fn new(limit: usize) -> Self {
        Self {
            texts: vec!["".into(), OTHER_TEXT.into()],
            symbols: HashMap::default(),
            limit,
        }
    }

    pub fn intern(&mut self, text: &str) -> Symbol {
        let text = cut(text, MAX_TEXT_BYTES);
        if text.is_empty() {
            return NOTHING;
        }
        if let Some(symbol) = self.symbols.get(text.as_bytes()) {
            return *symbol;
        }
        if self.texts.len() >= self.limit {
            return OTHER;
        }
        let symbol = self.texts.len() as Symbol;
        self.texts.push(text.into());
        self.symbols.insert(text.as_bytes().into(), symbol);
        symbol
    }

    pub fn text(&self, symbol: Symbol) -> &str {
        self.texts.get(symbol as usize).map_or("", |text| text)
    }
}

/// The first `longest` bytes of a text, or fewer, so that no character is cut.
fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a finding belongs to, as Weaver's `signal_type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalType {
    Resource,
    Scope,
    Span,
    Metric,
    Log,
}

/// Where the attribute that a finding is about stands, or what else it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Sample {
    Resource,
    InstrumentationScope,
    Span,
    SpanEvent,
    SpanLink,
    Metric,
    DataPoint,
    Exemplar,
    Log,
    Attribute,
}

pub const SAMPLES: [&str; 10] = [
    "resource",
    "instrumentation_scope",
    "span",
    "span_event",
    "span_link",
    "metric",
    "data_point",
    "exemplar",
    "log",
    "attribute",
];

/// Where something was found first.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub service: Symbol,
    pub scope: Symbol,
    pub sample: Sample,
}

/// What of a subject was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// What is told of every occurrence.
    Fixed,
    Type(Type),
    Value(Symbol),
    Instrument(&'static str),
    Unit(Symbol),
    /// The attribute at this place of the subject's references is missing.
    Absent(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub signal_type: SignalType,
    pub signal_name: Symbol,
    /// An attribute, metric or event: its place among the subjects.
    pub subject: u32,
    pub fault: Fault,
}

/// How often each fault was found, and where first.
pub struct Cells {
    pub counts: HashMap<Key, (u64, Place)>,
    limit: usize,
    /// What found no room.
    pub overflow: u64,
}

impl Cells {
    pub fn new(limit: usize) -> Self {
        Self {
            counts: HashMap::default(),
            limit,
            overflow: 0,
        }
    }

    /// Counts a fault. When the table is half full, signals that are new to it are counted together.
    #[inline]
    pub fn add(&mut self, key: Key, place: Place) {
        match self.counts.get_mut(&key) {
            Some((count, _)) => *count += 1,
            None => self.add_new(key, place),
        }
    }

    fn add_new(&mut self, mut key: Key, place: Place) {
        if self.counts.len() >= self.limit / 2 {
            key.signal_name = OTHER;
        }
        if let Some((count, _)) = self.counts.get_mut(&key) {
            *count += 1;
        } else if self.counts.len() < self.limit {
            self.counts.insert(key, (1, place));
        } else {
            self.overflow += 1;
        }
    }
}
