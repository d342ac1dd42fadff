//! The enrichment plan, ready to run: canonical attributes, keys, senders and rules. `compile` makes it.
#![forbid(unsafe_code)]

use regex::Regex;
use rustc_hash::FxHashMap;

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
    pub table: Vec<(String, Scalar)>,
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

impl Set {
    /// The part that the pattern takes out of a text: its first group, or all that it matched.
    #[inline]
    pub fn captured<'a>(&self, value: Value<'a>) -> Option<Value<'a>> {
        let Some(regex) = &self.regex else {
            return Some(value);
        };
        let Value::Text(text) = value else {
            return None;
        };
        let captures = regex.captures(text)?;
        let part = captures.get(1).or_else(|| captures.get(0))?.as_str();
        (!part.is_empty()).then_some(Value::Text(part))
    }

    /// Translates by the table; a value that is not in it is none. Without a table every value stays.
    #[inline]
    pub fn translate<'a>(&'a self, value: Value<'a>) -> Option<Value<'a>> {
        if self.table.is_empty() {
            return Some(value);
        }
        let found = value.with_any(|value| match value {
            AnyValue::Str(text) => self.entry(text),
            AnyValue::Bool(flag) => self.entry(if flag { "true" } else { "false" }),
            _ => None,
        });
        found.map(scalar)
    }

    /// With a literal that needs no more looks at each item, `Ready`; as it is where the attribute cannot take it.
    pub fn prepared(mut self, attributes: &[Attribute]) -> Self {
        let From::Value(literal) = &self.from else {
            return self;
        };
        let domain = &attributes[self.attribute].domain;
        let value = self.captured(scalar(literal));
        let value = value.and_then(|value| self.translate(value));
        if let Some(value) = value.and_then(|value| domain.admit(value)) {
            self.from = From::Ready(match domain.normalise(value) {
                Value::Text(text) => Scalar::Text(text.to_owned()),
                Value::Number(number) => Scalar::Int(number),
                Value::Bool(flag) => Scalar::Bool(flag),
            });
        }
        self
    }

    fn entry(&self, text: &str) -> Option<&Scalar> {
        let fit = self
            .table
            .iter()
            .find(|(glob, _)| matches_glob(glob, text))?;
        Some(&fit.1)
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
