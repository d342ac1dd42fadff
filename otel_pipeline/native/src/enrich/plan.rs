//! The enrichment plan, ready to run: canonical attributes, keys, senders and rules. `compile` makes it.
#![forbid(unsafe_code)]

use regex::Regex;
use rustc_hash::FxHashMap;

use super::memo::Memo;
use super::rule_set::RuleSet;
use super::value::{Domain, Value};
use crate::matcher::{Matcher, Scalar, matches_glob};
use crate::otlp::AnyValue;

/// A set of canonical attributes, one bit for each by index.
pub type Mask = u64;

/// A canonical attribute.
pub struct Attribute {
    pub key: String,
    pub aliases: Vec<String>,
    pub encoded_key: Vec<u8>,
    pub domain: Domain,
}

/// Where a rule looks for an attribute of the item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lookup {
    /// A canonical attribute: the value resolved so far.
    Canonical(usize),
    /// Any other, by its slot.
    Slot(usize),
}

/// What a key of an attribute list means to the plan.
#[derive(Default)]
pub struct KeyUse {
    /// Canonical attributes that read it, with the preference among their keys: 0 is the canonical key itself.
    pub gives: Vec<(usize, u8)>,
    /// Where rules find it.
    pub slot: Option<usize>,
    /// The rules that it wakes where it stands on an item.
    pub wakes: Option<RuleSet>,
}

pub struct Selector {
    /// Slot and condition.
    pub resource: Vec<(usize, Matcher)>,
    pub scope_name: Option<Matcher>,
    pub scope_version: Option<Matcher>,
    pub scope_attributes: Vec<(usize, Matcher)>,
    pub name: Option<Matcher>,
    /// Bits by number; 0 for any.
    pub kinds: u32,
    pub statuses: u32,
    pub event: Option<Matcher>,
    pub attributes: Vec<(Lookup, Matcher)>,
}

impl Selector {
    pub fn needs_scope(&self) -> bool {
        self.scope_name.is_some()
            || self.scope_version.is_some()
            || !self.scope_attributes.is_empty()
    }

    pub fn needs_item(&self) -> bool {
        self.name.is_some()
            || self.kinds != 0
            || self.statuses != 0
            || self.event.is_some()
            || !self.attributes.is_empty()
    }
}

pub struct Rule {
    pub selector: Selector,
    pub set: Vec<Set>,
    /// Whether scope and resource can decide it; its values are then written there.
    pub at_header: bool,
    /// The attributes that it sets, and those among them that it takes from the sender.
    pub sets: Mask,
    pub overrides: Mask,
}

pub struct Set {
    pub attribute: usize,
    pub from: From,
    pub regex: Option<Regex>,
    /// Globs, in the order in which they are tried.
    pub table: Vec<(String, Scalar)>,
    /// What pattern and table made of texts is remembered here.
    pub memo: usize,
}

pub enum From {
    /// What the attribute takes, in its one form.
    Ready(Scalar),
    /// As written: a text that is to be taken apart or translated.
    Value(Scalar),
    /// Of the item.
    Attributes(Vec<Lookup>),
    /// Of the item, else of its scope, else of its resource.
    Anywhere(Vec<Lookup>),
    /// Slots of the resource.
    Resource(Vec<usize>),
    /// Of the last event of this name.
    Event(String, Vec<String>),
    /// The name of the item.
    Name,
}

/// Where rules are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Resource,
    Scope,
    Span,
    Event,
    Point,
}

pub const STAGES: usize = 5;

/// Everything the pass needs, checked.
pub struct Plan {
    pub attributes: Vec<Attribute>,
    pub keys: FxHashMap<Box<[u8]>, KeyUse>,
    pub slots: usize,
    /// Sets of rules that have a memo.
    pub memos: usize,
    /// The slots of `event.name` and `service.name`.
    pub event_name: usize,
    pub service_name: usize,
    pub senders: Vec<Selector>,
    /// The rules of each sender, and those of none.
    pub sender_rules: Vec<RuleSet>,
    pub general_rules: RuleSet,
    pub rules: Vec<Rule>,
    /// The rules of each stage.
    pub stages: [RuleSet; STAGES],
    /// Rules that every item wakes, and those that items of a certain name do.
    pub always: RuleSet,
    pub names: FxHashMap<String, RuleSet>,
    /// All that are in `names`.
    pub named: RuleSet,
    pub inherit: Mask,
    pub expected: Mask,
}

/// What a set makes of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Taken {
    Nothing,
    /// The bytes from the first to the second.
    Part(usize, usize),
    /// Of the table, by index.
    Entry(usize),
}

impl Set {
    /// What becomes of the value of its source; None where it is none. Without pattern and table it stays.
    #[inline]
    pub fn value<'a>(&'a self, value: Value<'a>, memos: &mut [Memo<Taken>]) -> Option<Value<'a>> {
        if self.regex.is_none() && self.table.is_empty() {
            return Some(value);
        }
        let Value::Text(text) = value else {
            let entry = value.with_any(|value| match value {
                _ if self.regex.is_some() => None,
                AnyValue::Str(text) => self.entry(text),
                AnyValue::Bool(flag) => self.entry(if flag { "true" } else { "false" }),
                _ => None,
            });
            return entry.map(|at| scalar(&self.table[at].1));
        };
        let taken = match memos.get_mut(self.memo) {
            Some(memo) => memo.recall(text, || self.taken(text)),
            None => self.taken(text),
        };
        match taken {
            Taken::Nothing => None,
            Taken::Part(start, end) => text.get(start..end).map(Value::Text),
            Taken::Entry(at) => Some(scalar(&self.table[at].1)),
        }
    }

    /// The part that the pattern takes out of a text (its first group, or all that it matched), translated by the table.
    fn taken(&self, text: &str) -> Taken {
        let mut part = 0..text.len();
        if let Some(regex) = &self.regex {
            let captures = regex.captures(text);
            let found = captures.and_then(|found| found.get(1).or_else(|| found.get(0)));
            let Some(found) = found.filter(|found| !found.is_empty()) else {
                return Taken::Nothing;
            };
            part = found.range();
        }
        if self.table.is_empty() {
            return Taken::Part(part.start, part.end);
        }
        self.entry(&text[part]).map_or(Taken::Nothing, Taken::Entry)
    }

    /// The first entry of the table that fits.
    fn entry(&self, text: &str) -> Option<usize> {
        let mut globs = self.table.iter();
        globs.position(|(glob, _)| matches_glob(glob, text))
    }

    /// With a literal that needs no more looks at each item, `Ready`; as it is where the attribute cannot take it.
    pub fn prepared(mut self, attributes: &[Attribute]) -> Self {
        let From::Value(literal) = &self.from else {
            return self;
        };
        let domain = &attributes[self.attribute].domain;
        let value = self.value(scalar(literal), &mut []);
        if let Some(value) = value.and_then(|value| domain.admit(value)) {
            self.from = From::Ready(match domain.normalise(value) {
                Value::Text(text) => Scalar::Text(text.to_owned()),
                Value::Number(number) => Scalar::Int(number),
                Value::Bool(flag) => Scalar::Bool(flag),
            });
        }
        self
    }
}

/// The value of a literal.
pub fn scalar(literal: &Scalar) -> Value<'_> {
    match literal {
        Scalar::Bool(flag) => Value::Bool(*flag),
        Scalar::Int(number) => Value::Number(*number),
        Scalar::Text(text) => Value::Text(text),
    }
}
