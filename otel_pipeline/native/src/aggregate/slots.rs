//! Which label values are read of every item, each in its slot, and what they must be for a derivation to count.
//! What only few items have, or few derivations ask for, is claimed instead (`claims`).
#![forbid(unsafe_code)]

use super::intern::{ABSENT, Interner, Symbol};
use super::plan::{DerivationPlan, LabelPlan, LabelSource, LateBinding, Plan, Source, SpanField};
use super::select::Mask;

/// Where the value in a slot comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotSource {
    /// An attribute of the item, else of its scope, else of its resource.
    Attribute(String),
    Field(SpanField),
}

#[derive(Debug, Default)]
pub struct Slots(pub Vec<SlotSource>);

impl Slots {
    /// The slots of a plan: what late binding and late conditions look at, what exemplars carry, and the labels of what
    /// counts all items, and of usage.
    pub fn new(plan: &Plan) -> Self {
        let mut slots = Self::default();
        if let Some(late) = &plan.late_binding {
            slots.add_late(late);
        }
        for label in &plan.exemplar_attributes {
            slots.add_label(label);
        }
        if let Some(usage) = &plan.usage {
            slots.attribute(&usage.model);
            slots.attribute(&usage.token_type);
        }
        for (key, _) in plan.derivations().flat_map(|one| &one.late) {
            slots.attribute(key);
        }
        for metric in &plan.metrics {
            let for_all = |one: &DerivationPlan| one.selector.is_none() && one.late.is_empty();
            let is_core = metric
                .derivations
                .iter()
                .any(|one| one.source == Source::Usage || (one.source.is_span() && for_all(one)));
            for label in &metric.labels {
                if is_core || matches!(label.from, LabelSource::Field(_)) {
                    slots.add_label(label);
                }
            }
        }
        slots
    }

    fn add_late(&mut self, late: &LateBinding) {
        let own = [
            &late.stage,
            &late.model,
            &late.outcome,
            &late.stage_run,
            &late.noise,
        ];
        for key in own.into_iter().chain(&late.inherited) {
            self.attribute(key);
        }
    }

    fn add_label(&mut self, label: &LabelPlan) {
        match &label.from {
            LabelSource::Field(field) => _ = self.slot(SlotSource::Field(*field)),
            LabelSource::Attributes(keys) => {
                if let [key] = keys.as_slice() {
                    self.attribute(key);
                }
            }
        }
    }

    fn slot(&mut self, source: SlotSource) -> usize {
        self.find(&source).unwrap_or_else(|| {
            self.0.push(source);
            self.0.len() - 1
        })
    }

    /// The slot for `source`, if it has one.
    pub fn find(&self, source: &SlotSource) -> Option<usize> {
        self.0.iter().position(|known| known == source)
    }

    /// The slot of an attribute; made at the first call.
    pub fn attribute(&mut self, key: &str) -> usize {
        self.slot(SlotSource::Attribute(key.to_owned()))
    }

    /// The slot of a label, if it has one. An attribute that has a slot needs no other keys.
    pub fn of_label(&self, from: &LabelSource) -> Option<usize> {
        match from {
            LabelSource::Field(field) => self.find(&SlotSource::Field(*field)),
            LabelSource::Attributes(keys) => {
                let first = keys.first()?;
                self.find(&SlotSource::Attribute(first.clone()))
            }
        }
    }
}

/// What one slot must hold for each derivation.
pub struct LateTest {
    pub slot: usize,
    /// By symbol: the derivations that take it.
    takes: Vec<Mask>,
    /// The derivations that take any other.
    takes_other: Mask,
}

impl LateTest {
    /// The tests of all derivations.
    pub fn all(
        derivations: &[&DerivationPlan],
        slots: &mut Slots,
        interner: &mut Interner,
    ) -> Vec<Self> {
        let mut tests: Vec<Self> = Vec::new();
        for (at, derivation) in derivations.iter().enumerate() {
            for (key, texts) in &derivation.late {
                let slot = slots.attribute(key);
                let known = tests.iter().position(|test| test.slot == slot);
                let test = known.unwrap_or_else(|| {
                    tests.push(Self::any(slot));
                    tests.len() - 1
                });
                let symbols: Vec<_> = texts.iter().map(|text| interner.intern(text)).collect();
                tests[test].narrow(at, &symbols);
            }
        }
        tests
    }

    fn any(slot: usize) -> Self {
        Self {
            slot,
            takes: Vec::new(),
            takes_other: Mask::MAX,
        }
    }

    /// From now on derivation `at` takes these only.
    fn narrow(&mut self, at: usize, symbols: &[Symbol]) {
        let highest = symbols
            .iter()
            .max()
            .map_or(0, |symbol| *symbol as usize + 1);
        let length = self.takes.len().max(highest);
        self.takes.resize(length, self.takes_other);
        self.takes_other &= !(1 << at);
        for (symbol, takes) in (0..).zip(&mut self.takes) {
            if !symbols.contains(&symbol) {
                *takes &= !(1 << at);
            }
        }
    }

    /// The derivations that do not take everything.
    pub fn asking(&self) -> Mask {
        !self.takes_other
    }

    /// The derivations that take what is in the slot.
    #[inline]
    pub fn taking(&self, slots: &[Symbol]) -> Mask {
        let symbol = slots[self.slot] as usize;
        *self.takes.get(symbol).unwrap_or(&self.takes_other)
    }

    /// As `taking`, where an empty slot may still be filled.
    #[inline]
    pub fn could_take(&self, slots: &[Symbol]) -> Mask {
        match slots[self.slot] {
            ABSENT => Mask::MAX,
            _ => self.taking(slots),
        }
    }
}
