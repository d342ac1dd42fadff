//! One walk over an attribute list: what it says of canonical attributes, and what rules want to see.
#![forbid(unsafe_code)]

use super::plan::{Lookup, Mask, Plan};
use super::value::Value;
use crate::otlp::AnyValue;

/// What one attribute list holds. Kept from item to item, so that nothing is allocated for an item.
pub struct Gathered<'a> {
    /// Canonical attributes that have a value here, by their own key or an alias.
    pub found: Mask,
    /// Canonical attributes whose own key stands here, with whatever value.
    pub own: Mask,
    /// Preference and value, where `found`.
    best: Vec<(u8, Value<'a>)>,
    /// Value and the round in which it was seen.
    slots: Vec<(AnyValue<'a>, u32)>,
    round: u32,
}

impl<'a> Gathered<'a> {
    pub fn new(plan: &Plan) -> Self {
        Self {
            found: 0,
            own: 0,
            best: vec![(0, Value::Bool(false)); plan.attributes.len()],
            slots: vec![(AnyValue::Empty, 0); plan.slots],
            round: 0,
        }
    }

    /// Forgets what was gathered, for the next item.
    #[inline]
    pub fn clear(&mut self) {
        self.found = 0;
        self.own = 0;
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.slots.fill((AnyValue::Empty, 0));
            self.round = 1;
        }
    }

    /// Takes in one attribute. Of the keys for one canonical attribute the most preferred counts, of equal ones the first.
    #[inline]
    pub fn add(&mut self, plan: &Plan, key: &[u8], value: &'a [u8]) {
        let Some(uses) = plan.keys.get(key) else {
            return;
        };
        let value = AnyValue::parse(value);
        if let Some(slot) = uses.slot
            && self.slots[slot].1 != self.round
        {
            self.slots[slot] = (value, self.round);
        }
        for &(attribute, preference) in &uses.gives {
            let bit = 1 << attribute;
            if preference == 0 {
                self.own |= bit;
            }
            if self.found & bit != 0 && self.best[attribute].0 <= preference {
                continue;
            }
            let domain = &plan.attributes[attribute].domain;
            if let Some(value) = Value::of(value).and_then(|value| domain.admit(value)) {
                self.found |= bit;
                self.best[attribute] = (preference, value);
            }
        }
    }

    /// The value of a canonical attribute that is in `found`, as the sender wrote it.
    #[inline]
    pub fn best(&self, attribute: usize) -> Value<'a> {
        self.best[attribute].1
    }

    /// The value under the attribute's own key, as the sender wrote it.
    #[inline]
    pub fn own_value(&self, attribute: usize) -> Option<Value<'a>> {
        let (preference, value) = self.best[attribute];
        (self.found & 1 << attribute != 0 && preference == 0).then_some(value)
    }

    /// An attribute that rules look at.
    #[inline]
    pub fn slot(&self, lookup: Lookup) -> Option<AnyValue<'a>> {
        let Lookup::Slot(slot) = lookup else {
            return None;
        };
        let (value, round) = self.slots[slot];
        (round == self.round).then_some(value)
    }
}

/// The attributes of a set, by index.
#[inline]
pub fn members(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let next = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(next)
    })
}
