//! One walk over an attribute list: what it says of canonical attributes, and what rules want to see.
#![forbid(unsafe_code)]

use super::plan::{KeyUse, Mask, Plan};
use super::rule_set::RuleSet;
use super::value::Value;
use crate::otlp::{AnyValue, attributes};

/// Places in a list whose keys are remembered.
const MAX_RECENT: usize = 64;

/// What one attribute list holds. Kept from list to list and from batch to batch, so that nothing is allocated for one.
#[derive(Default)]
pub struct Gathered<'a> {
    /// Canonical attributes that have a value here, by their own key or an alias.
    pub found: Mask,
    /// Canonical attributes whose own key stands here, with whatever value.
    pub own: Mask,
    /// Those of them where it has a value of a type that the attribute does not take.
    pub unexpected: Mask,
    /// The rules that keys of the list wake.
    pub woken: RuleSet,
    /// Keys until now, and what the last list had in their places: items of one sender tend to be alike.
    keys: usize,
    recent: Vec<(&'a [u8], Option<&'a KeyUse>)>,
    /// Attribute, preference and value, one for each in `found`.
    best: Vec<(u8, u8, Value<'a>)>,
    /// What stands in the slots.
    values: Vec<AnyValue<'a>>,
    /// For each slot an index into `values`, and the round in which it was set.
    slots: Vec<(u32, u32)>,
    round: u32,
}

impl<'a> Gathered<'a> {
    pub fn new(plan: &Plan) -> Self {
        Self {
            slots: vec![(0, 0); plan.slots],
            woken: plan.always.emptied(),
            ..Self::default()
        }
    }

    /// The same room for the attributes of another batch.
    pub fn recycled<'b>(self) -> Gathered<'b> {
        Gathered {
            found: 0,
            own: 0,
            unexpected: 0,
            woken: self.woken,
            keys: 0,
            recent: emptied(self.recent),
            best: emptied(self.best),
            values: emptied(self.values),
            slots: self.slots,
            round: self.round,
        }
    }

    /// Forgets what was gathered, for the next list.
    #[inline]
    pub fn clear(&mut self) {
        (self.found, self.own, self.unexpected) = (0, 0, 0);
        self.keys = 0;
        self.woken.clear();
        self.best.clear();
        self.values.clear();
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.slots.fill((0, 0));
            self.round = 1;
        }
    }

    /// Takes in one attribute. Of the keys for one canonical attribute the most preferred counts, of equal ones the first.
    #[inline]
    pub fn add(&mut self, plan: &'a Plan, key: &'a [u8], value: &'a [u8]) {
        let at = self.keys;
        self.keys += 1;
        let uses = match self.recent.get(at) {
            Some((recent, uses)) if *recent == key => *uses,
            _ => self.look_up(plan, at, key),
        };
        if let Some(uses) = uses {
            self.take(plan, uses, AnyValue::parse(value));
        }
    }

    fn look_up(&mut self, plan: &'a Plan, at: usize, key: &'a [u8]) -> Option<&'a KeyUse> {
        let uses = plan.keys.get(key);
        match self.recent.get_mut(at) {
            Some(recent) => *recent = (key, uses),
            None if at < MAX_RECENT => self.recent.push((key, uses)),
            None => {}
        }
        uses
    }

    fn take(&mut self, plan: &Plan, uses: &KeyUse, value: AnyValue<'a>) {
        if let Some(slot) = uses.slot.and_then(|slot| self.slots.get_mut(slot))
            && slot.1 != self.round
        {
            *slot = (self.values.len() as u32, self.round);
            self.values.push(value);
        }
        if let Some(rules) = &uses.wakes {
            self.woken.add(rules);
        }
        for &(attribute, preference) in &uses.gives {
            self.give(plan, attribute, preference, value);
        }
    }

    fn give(&mut self, plan: &Plan, attribute: usize, preference: u8, value: AnyValue<'a>) {
        let bit = 1 << attribute;
        if preference == 0 {
            self.own |= bit;
        }
        let at = match self.found & bit {
            0 => None,
            _ => (self.best.iter()).position(|one| usize::from(one.0) == attribute),
        };
        if at.is_some_and(|at| self.best[at].1 <= preference) {
            return;
        }
        let domain = &plan.attributes[attribute].domain;
        match Value::of(value).and_then(|value| domain.admit(value)) {
            Some(value) => {
                let best = (attribute as u8, preference, value);
                match at {
                    Some(at) => self.best[at] = best,
                    None => self.best.push(best),
                }
                self.found |= bit;
            }
            None if preference == 0 && !matches!(value, AnyValue::Empty | AnyValue::Str("")) => {
                self.unexpected |= bit;
            }
            None => {}
        }
    }

    /// Preference and value of a canonical attribute, the value as the sender wrote it.
    #[inline]
    pub fn best(&self, attribute: usize) -> Option<(u8, Value<'a>)> {
        let mut best = self.best.iter();
        let best = best.find(|one| usize::from(one.0) == attribute)?;
        Some((best.1, best.2))
    }

    /// The value under the attribute's own key, as the sender wrote it.
    #[inline]
    pub fn own_value(&self, attribute: usize) -> Option<Value<'a>> {
        let own = self.best(attribute).filter(|best| best.0 == 0);
        own.map(|(_, value)| value)
    }

    /// An attribute that rules look at.
    #[inline]
    pub fn slot(&self, slot: usize) -> Option<AnyValue<'a>> {
        let &(index, round) = self.slots.get(slot)?;
        if round != self.round {
            return None;
        }
        self.values.get(index as usize).copied()
    }

    /// The first usable of these.
    pub fn first_of(&self, slots: &[usize]) -> Option<Value<'a>> {
        let mut values = slots.iter().filter_map(|slot| self.slot(*slot));
        values.find_map(Value::of)
    }
}

/// The first usable of the attributes below field `number` of `message`, of each key the first.
pub fn first_of<'a>(message: &'a [u8], number: u32, keys: &[String]) -> Option<Value<'a>> {
    keys.iter().find_map(|key| {
        let mut all = attributes(message, number);
        let (_, value) = all.find(|(one, _)| *one == key.as_bytes())?;
        Value::of(AnyValue::parse(value))
    })
}

/// The room of a list whose contents are forgotten, for other contents of the same kind: collecting in place keeps it.
pub fn emptied<A, B>(mut list: Vec<A>) -> Vec<B> {
    list.clear();
    list.into_iter().filter_map(|_| None).collect()
}
