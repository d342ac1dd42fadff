//! The enrichment plan: canonical attributes and rules, compiled from the registry by `otel_pipeline.semconv.compile`.
#![forbid(unsafe_code)]

use regex::Regex;
use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::value::{Domain, DomainSpec, Value, encoded_key};
use crate::matcher::compile_regex;
use crate::matcher::{Matcher, MatcherSpec, Scalar, matches_glob};

/// A set of canonical attributes, one bit for each by index.
pub type Mask = u64;

#[derive(Deserialize)]
struct PlanSpec {
    attributes: Vec<AttributeSpec>,
    senders: Vec<SelectorSpec>,
    rules: Vec<RuleSpec>,
}

#[derive(Deserialize)]
struct AttributeSpec {
    key: String,
    aliases: Vec<String>,
    inherit: bool,
    expected: bool,
    domain: DomainSpec,
}

#[derive(Deserialize)]
struct SelectorSpec {
    resource: Vec<(String, MatcherSpec)>,
    scope_name: Option<MatcherSpec>,
    scope_version: Option<MatcherSpec>,
    scope_attributes: Vec<(String, MatcherSpec)>,
    name: Option<MatcherSpec>,
    kinds: Vec<u8>,
    statuses: Vec<u8>,
    event: Option<MatcherSpec>,
    attributes: Vec<(String, MatcherSpec)>,
}

#[derive(Deserialize)]
struct RuleSpec {
    id: String,
    sender: Option<usize>,
    selector: SelectorSpec,
    set: Vec<SetSpec>,
}

#[derive(Deserialize)]
struct SetSpec {
    attribute: usize,
    from: FromSpec,
    regex: Option<String>,
    table: Vec<(String, Scalar)>,
    #[serde(rename = "override")]
    overrides: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FromSpec {
    Value(Scalar),
    Attributes(Vec<String>),
    Resource(Vec<String>),
    Event(String, Vec<String>),
    Name,
}

/// A canonical attribute.
pub struct Attribute {
    pub key: String,
    pub encoded_key: Vec<u8>,
    pub domain: Domain,
}

/// Where a rule looks for an attribute of the span.
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
}

pub struct Selector {
    pub resource: Vec<(String, Matcher)>,
    pub scope_name: Option<Matcher>,
    pub scope_version: Option<Matcher>,
    pub scope_attributes: Vec<(String, Matcher)>,
    pub name: Option<Matcher>,
    /// Bits by number; 0 for any.
    pub kinds: u32,
    pub statuses: u32,
    pub event: Option<Matcher>,
    pub attributes: Vec<(Lookup, Matcher)>,
}

impl Selector {
    fn needs_scope(&self) -> bool {
        self.scope_name.is_some()
            || self.scope_version.is_some()
            || !self.scope_attributes.is_empty()
    }

    fn needs_span(&self) -> bool {
        self.name.is_some()
            || self.kinds != 0
            || self.statuses != 0
            || self.event.is_some()
            || !self.attributes.is_empty()
    }
}

/// What a rule must look at before it can decide; it is tried there, and its values are written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Resource,
    Scope,
    Span,
}

pub struct Rule {
    pub sender: Option<usize>,
    pub selector: Selector,
    pub set: Vec<Set>,
    pub level: Level,
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
    Value(Scalar),
    Attributes(Vec<Lookup>),
    Resource(Vec<String>),
    Event(String, Vec<String>),
    Name,
}

/// Everything the pass needs, checked.
pub struct Plan {
    pub attributes: Vec<Attribute>,
    pub keys: FxHashMap<Box<[u8]>, KeyUse>,
    pub slots: usize,
    pub senders: Vec<Selector>,
    pub rules: Vec<Rule>,
    pub inherit: Mask,
    pub expected: Mask,
}

impl Plan {
    /// Reads a plan; the error says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let spec: PlanSpec = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if spec.attributes.len() > Mask::BITS as usize {
            return Err(format!("more than {} canonical attributes", Mask::BITS));
        }
        let mut keys = Keys::new(&spec.attributes);
        let senders = spec.senders.into_iter().map(|sender| keys.selector(sender));
        let senders = senders.collect::<Result<Vec<_>, _>>()?;
        let rules = spec.rules.into_iter().map(|rule| {
            let id = rule.id.clone();
            let compiled = keys.rule(rule, &senders, spec.attributes.len());
            compiled.map_err(|error| format!("rule {id}: {error}"))
        });
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let bits = |chosen: fn(&AttributeSpec) -> bool| mask(&spec.attributes, chosen);
        Ok(Self {
            inherit: bits(|attribute| attribute.inherit),
            expected: bits(|attribute| attribute.expected),
            attributes: spec
                .attributes
                .into_iter()
                .map(Attribute::new)
                .collect::<Result<_, _>>()?,
            keys: keys.uses,
            slots: keys.slots,
            senders,
            rules,
        })
    }
}

fn mask(attributes: &[AttributeSpec], chosen: fn(&AttributeSpec) -> bool) -> Mask {
    let chosen = attributes.iter().enumerate().filter(|(_, one)| chosen(one));
    chosen.fold(0, |mask, (index, _)| mask | 1 << index)
}

impl Attribute {
    fn new(spec: AttributeSpec) -> Result<Self, String> {
        let domain = Domain::new(spec.domain);
        Ok(Self {
            encoded_key: encoded_key(&spec.key),
            domain: domain.map_err(|error| format!("attribute {}: {error}", spec.key))?,
            key: spec.key,
        })
    }
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
            crate::otlp::AnyValue::Str(text) => self.entry(text),
            crate::otlp::AnyValue::Bool(flag) => self.entry(if flag { "true" } else { "false" }),
            _ => None,
        });
        found.map(scalar)
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

/// The keys that anything in the plan asks for, while it is being compiled.
struct Keys {
    uses: FxHashMap<Box<[u8]>, KeyUse>,
    canonical: FxHashMap<String, usize>,
    slots: usize,
}

impl Keys {
    fn new(attributes: &[AttributeSpec]) -> Self {
        let mut keys = Self {
            uses: FxHashMap::default(),
            canonical: FxHashMap::default(),
            slots: 0,
        };
        for (index, attribute) in attributes.iter().enumerate() {
            keys.canonical.insert(attribute.key.clone(), index);
            let all = std::iter::once(&attribute.key).chain(&attribute.aliases);
            for (preference, key) in all.take(usize::from(u8::MAX)).enumerate() {
                let key = key.clone().into_bytes().into_boxed_slice();
                let gives = &mut keys.uses.entry(key).or_default().gives;
                gives.push((index, preference as u8));
            }
        }
        keys
    }

    fn lookup(&mut self, key: String) -> Lookup {
        if let Some(index) = self.canonical.get(&key) {
            return Lookup::Canonical(*index);
        }
        let slots = &mut self.slots;
        let key = key.into_bytes().into_boxed_slice();
        let slot = self
            .uses
            .entry(key)
            .or_default()
            .slot
            .get_or_insert_with(|| {
                *slots += 1;
                *slots - 1
            });
        Lookup::Slot(*slot)
    }

    fn selector(&mut self, spec: SelectorSpec) -> Result<Selector, String> {
        Ok(Selector {
            resource: keyed(spec.resource)?,
            scope_name: spec.scope_name.map(Matcher::new).transpose()?,
            scope_version: spec.scope_version.map(Matcher::new).transpose()?,
            scope_attributes: keyed(spec.scope_attributes)?,
            name: spec.name.map(Matcher::new).transpose()?,
            kinds: bits(&spec.kinds),
            statuses: bits(&spec.statuses),
            event: spec.event.map(Matcher::new).transpose()?,
            attributes: keyed(spec.attributes)?
                .into_iter()
                .map(|(key, condition)| (self.lookup(key), condition))
                .collect(),
        })
    }

    fn rule(
        &mut self,
        spec: RuleSpec,
        senders: &[Selector],
        attributes: usize,
    ) -> Result<Rule, String> {
        let selector = self.selector(spec.selector)?;
        let sender = match spec.sender {
            Some(index) => Some(senders.get(index).ok_or("no such sender")?),
            None => None,
        };
        let (mut sets, mut overrides) = (0, 0);
        let mut level = match selector.needs_scope() || sender.is_some_and(Selector::needs_scope) {
            true => Level::Scope,
            false => Level::Resource,
        };
        if selector.needs_span() {
            level = Level::Span;
        }
        let mut set = Vec::with_capacity(spec.set.len());
        for one in spec.set {
            if one.attribute >= attributes {
                return Err("no such attribute".to_owned());
            }
            sets |= 1 << one.attribute;
            overrides |= Mask::from(one.overrides) << one.attribute;
            if !matches!(one.from, FromSpec::Value(_) | FromSpec::Resource(_)) || one.overrides {
                level = Level::Span;
            }
            set.push(self.set(one)?);
        }
        Ok(Rule {
            sender: spec.sender,
            selector,
            set,
            level,
            sets,
            overrides,
        })
    }

    fn set(&mut self, spec: SetSpec) -> Result<Set, String> {
        let regex = spec.regex.map(|pattern| compile_regex(&pattern));
        Ok(Set {
            attribute: spec.attribute,
            from: match spec.from {
                FromSpec::Value(value) => From::Value(value),
                FromSpec::Attributes(keys) => {
                    From::Attributes(keys.into_iter().map(|key| self.lookup(key)).collect())
                }
                FromSpec::Resource(keys) => From::Resource(keys),
                FromSpec::Event(name, keys) => From::Event(name, keys),
                FromSpec::Name => From::Name,
            },
            regex: regex.transpose()?,
            table: spec.table,
        })
    }
}

fn keyed(specs: Vec<(String, MatcherSpec)>) -> Result<Vec<(String, Matcher)>, String> {
    let compiled = specs
        .into_iter()
        .map(|(key, spec)| Ok((key, Matcher::new(spec)?)));
    compiled.collect()
}

fn bits(numbers: &[u8]) -> u32 {
    numbers.iter().fold(0, |bits, number| {
        bits | 1u32.checked_shl(u32::from(*number)).unwrap_or(0)
    })
}
