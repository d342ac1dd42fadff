//! Which items a derivation or a usage rule counts, as far as the item itself, its scope and its resource tell.
//! Most items satisfy no selector, and most selectors can be passed over without being tried.
#![forbid(unsafe_code)]

use serde::Deserialize;

use super::keys::{Keys, Seen};
use crate::matcher::{Matcher, MatcherSpec, Scalar};
use crate::otlp::{
    AnyValue, Context, RESOURCE_ATTRIBUTES, attributes, child, children, scope, span, text,
};

/// A set of selectors, one bit for each by index.
pub type Mask = u128;

/// A selector as plans write it, the same as in the enrichment plan. All parts must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectorSpec {
    pub resource: Vec<(String, MatcherSpec)>,
    pub scope_name: Option<MatcherSpec>,
    pub scope_version: Option<MatcherSpec>,
    pub scope_attributes: Vec<(String, MatcherSpec)>,
    /// Of the span, event or metric.
    pub name: Option<MatcherSpec>,
    /// Numbers of `Span.kind` and `Status.code`; empty for any.
    pub kinds: Vec<u8>,
    pub statuses: Vec<u8>,
    /// Name of an event of the span.
    pub event: Option<MatcherSpec>,
    pub attributes: Vec<(KeySpec, MatcherSpec)>,
}

/// An attribute, or several of which the first that is there counts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum KeySpec {
    One(String),
    First(Vec<String>),
}

/// One item as selectors see it.
pub struct Candidate<'a, 's> {
    pub name: &'a [u8],
    pub kind: usize,
    pub status: usize,
    /// The whole message, for the events of a span.
    pub item: &'a [u8],
    pub seen: &'s Seen<'a>,
}

struct Selector {
    resource: Vec<(String, Matcher)>,
    scope_name: Option<Matcher>,
    scope_version: Option<Matcher>,
    scope_attributes: Vec<(String, Matcher)>,
    name: Option<Matcher>,
    /// Bits by number; 0 for any.
    kinds: u32,
    statuses: u32,
    event: Option<Matcher>,
    /// By watched keys, of which the first that is there counts.
    attributes: Vec<(Box<[u32]>, Matcher)>,
}

/// All selectors for one kind of item; indexes are in the order of `add`.
#[derive(Default)]
pub struct Selection {
    selectors: Vec<Selector>,
    /// Those that hold for the resource and scope at hand; with `asks_header` cleared: for all.
    open: Mask,
    asks_header: Mask,
    /// Those worth trying for an item that has a watched attribute, by its number.
    by_key: Vec<Mask>,
    /// Those worth trying for items of a name, by the number of the name.
    names: Keys,
    by_name: Vec<Mask>,
    /// Those worth trying for every item.
    always: Mask,
}

impl Selection {
    /// Takes in one more selector, at most 128; the error is that of a bad regular expression.
    pub fn add(&mut self, spec: SelectorSpec, keys: &mut Keys) -> Result<usize, String> {
        let at = self.selectors.len();
        if at >= Mask::BITS as usize {
            return Err(format!("more than {} selectors", Mask::BITS));
        }
        let names = spec.name.as_ref().and_then(literals);
        let selector = Selector::new(spec, keys)?;
        if selector.asks_header() {
            self.asks_header |= 1 << at;
        } else {
            self.open |= 1 << at;
        }
        let key = selector.attributes.iter().find(|(_, one)| !one.holds(None));
        match (names, key) {
            (Some(names), _) => names.iter().for_each(|name| {
                let number = self.names.watch(name);
                set_bit(&mut self.by_name, number, at);
            }),
            (None, Some((watched, _))) => {
                for number in watched {
                    set_bit(&mut self.by_key, *number, at);
                }
            }
            (None, None) => self.always |= 1 << at,
        }
        self.selectors.push(selector);
        Ok(at)
    }

    pub fn is_empty(&self) -> bool {
        self.selectors.is_empty()
    }

    /// Looks at a new resource or scope; to be called before `select` for the items below it.
    pub fn enter(&mut self, context: &Context<'_>) {
        self.open &= !self.asks_header;
        for at in members(self.asks_header) {
            if self.selectors[at].header_holds(context) {
                self.open |= 1 << at;
            }
        }
    }

    /// Whether any selector could hold for the resource and scope at hand.
    pub fn is_open(&self) -> bool {
        self.open != 0
    }

    /// Whether any selector could hold for an item of this name, as far as the name tells.
    pub fn may_select(&self, name: &[u8]) -> bool {
        self.always | self.named(name) != 0 || !self.by_key.is_empty()
    }

    #[inline]
    fn named(&self, name: &[u8]) -> Mask {
        if self.by_name.is_empty() {
            return 0;
        }
        let number = self.names.find(name).and_then(|asked| asked.watched);
        number.map_or(0, |number| self.by_name[number as usize])
    }

    /// The selectors that hold for an item.
    #[inline]
    pub fn select(&self, item: &Candidate<'_, '_>) -> Mask {
        let held = self.holding(item);
        held.fold(0, |mask, at| mask | 1 << at)
    }

    /// As `select`, one after the other; each is asked only when its turn comes.
    #[inline]
    pub fn holding(&self, item: &Candidate<'_, '_>) -> impl Iterator<Item = usize> {
        let mut tried = self.always | self.named(item.name);
        for (watched, _) in &item.seen.0 {
            tried |= self.by_key.get(*watched as usize).unwrap_or(&0);
        }
        members(tried & self.open).filter(|at| self.selectors[*at].holds(item))
    }
}

/// The texts that a matcher holds for, if these are all.
fn literals(spec: &MatcherSpec) -> Option<Vec<String>> {
    match spec {
        MatcherSpec::Literal(Scalar::Text(text)) => Some(vec![text.clone()]),
        MatcherSpec::Any(specs) => {
            let texts: Option<Vec<_>> = specs.iter().map(literals).collect();
            texts.map(|texts| texts.concat())
        }
        _ => None,
    }
}

fn set_bit(masks: &mut Vec<Mask>, number: u32, at: usize) {
    let number = number as usize;
    masks.resize(masks.len().max(number + 1), 0);
    masks[number] |= 1 << at;
}

/// The members of a set, by index.
#[inline]
pub fn members(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let next = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(next)
    })
}

impl Selector {
    fn new(spec: SelectorSpec, keys: &mut Keys) -> Result<Self, String> {
        let attributes = compiled(spec.attributes)?.into_iter();
        let mut watch = |spec: KeySpec| match spec {
            KeySpec::One(key) => [keys.watch(&key)].into(),
            KeySpec::First(each) => each.iter().map(|key| keys.watch(key)).collect(),
        };
        Ok(Self {
            resource: compiled(spec.resource)?,
            scope_name: spec.scope_name.map(Matcher::new).transpose()?,
            scope_version: spec.scope_version.map(Matcher::new).transpose()?,
            scope_attributes: compiled(spec.scope_attributes)?,
            name: spec.name.map(Matcher::new).transpose()?,
            kinds: bits(&spec.kinds),
            statuses: bits(&spec.statuses),
            event: spec.event.map(Matcher::new).transpose()?,
            attributes: attributes.map(|(spec, one)| (watch(spec), one)).collect(),
        })
    }

    fn asks_header(&self) -> bool {
        !self.resource.is_empty()
            || !self.scope_attributes.is_empty()
            || self.scope_name.is_some()
            || self.scope_version.is_some()
    }

    fn header_holds(&self, context: &Context<'_>) -> bool {
        text_holds(&self.scope_name, context.scope, scope::NAME)
            && text_holds(&self.scope_version, context.scope, scope::VERSION)
            && all_hold(&self.resource, context.resource, RESOURCE_ATTRIBUTES)
            && all_hold(&self.scope_attributes, context.scope, scope::ATTRIBUTES)
    }

    fn holds(&self, item: &Candidate<'_, '_>) -> bool {
        let is_name = |one: &Matcher| one.holds(Some(AnyValue::Str(text(item.name))));
        has_bit(self.kinds, item.kind)
            && has_bit(self.statuses, item.status)
            && self.name.as_ref().is_none_or(is_name)
            && self
                .attributes
                .iter()
                .all(|(keys, one)| one.holds(keys.iter().find_map(|key| item.seen.get(*key))))
            && self
                .event
                .as_ref()
                .is_none_or(|one| has_event(item.item, one))
    }
}

fn compiled<K>(specs: Vec<(K, MatcherSpec)>) -> Result<Vec<(K, Matcher)>, String> {
    let specs = specs.into_iter();
    specs
        .map(|(key, spec)| Ok((key, Matcher::new(spec)?)))
        .collect()
}

fn bits(numbers: &[u8]) -> u32 {
    let bits = numbers
        .iter()
        .map(|number| 1u32.checked_shl(u32::from(*number)));
    bits.flatten().fold(0, |mask, bit| mask | bit)
}

fn has_bit(mask: u32, number: usize) -> bool {
    mask == 0
        || u32::try_from(number).is_ok_and(|number| mask.checked_shr(number).unwrap_or(0) & 1 == 1)
}

fn text_holds(matcher: &Option<Matcher>, message: &[u8], number: u32) -> bool {
    let holds = |one: &Matcher| one.holds(Some(AnyValue::Str(text(child(message, number)))));
    matcher.as_ref().is_none_or(holds)
}

fn all_hold(matchers: &[(String, Matcher)], message: &[u8], number: u32) -> bool {
    matchers.iter().all(|(key, matcher)| {
        let found = attributes(message, number).find(|(name, _)| *name == key.as_bytes());
        matcher.holds(found.map(|(_, value)| AnyValue::parse(value)))
    })
}

fn has_event(item: &[u8], name: &Matcher) -> bool {
    let mut events = children(item, span::EVENTS).flatten();
    events.any(|event| {
        let found = text(child(event.value.bytes(), span::EVENT_NAME));
        name.holds(Some(AnyValue::Str(found)))
    })
}
