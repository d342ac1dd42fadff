//! All derivations from one kind of item, made ready: which of them an item is for, and what it has to keep for them.
#![forbid(unsafe_code)]

use super::claims::{Claim, Claims, MAX_CLAIMS, NUMBERS};
use super::extract::Extractor;
use super::intern::{ABSENT, Interner, Symbol};
use super::keys::{Keys, Lists};
use super::plan::{
    DerivationPlan, Instrument, LabelOverride, LabelSource, Measure, MetricPlan, Source,
};
use super::select::{Candidate, Mask, Selection, members};
use super::slots::{LateTest, Slots};
use super::text::{number, symbol_of};
use crate::otlp::{AnyValue, Context};

/// One way in which a metric gets observations.
pub struct Derivation {
    /// The metric, by position.
    pub family: usize,
    pub value: ValueFrom,
    pub scale: f64,
    pub labels: Vec<LabelFrom>,
    /// The label that has a word for each number, and the words.
    pub states: Option<(usize, Vec<(f64, Symbol)>)>,
    pub takes: bool,
    /// Of a plan that keeps rows.
    pub is_row: bool,
}

/// Where a derivation finds what it observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFrom {
    One,
    Duration,
    /// The data point tells.
    Given,
    /// The ledger of usage tells.
    Tokens,
    Cost,
    Claim(u32),
}

/// Where a derivation finds a label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelFrom {
    Slot(usize),
    Claim(u32),
    Word(Symbol),
    /// By position in `Table::siblings`.
    Sibling(usize),
}

/// Something that is read of an item for some derivations only.
struct Place {
    keys: Vec<String>,
    number: u32,
    users: Mask,
}

#[derive(Default)]
pub struct Table {
    pub selection: Selection,
    pub derivations: Vec<Derivation>,
    /// Names of the metrics whose values are labels of others.
    pub siblings: Vec<String>,
    /// The derivations of each selector, and those without one.
    chosen_by: Vec<Mask>,
    unselected: Mask,
    late: Vec<LateTest>,
    sources: Vec<(Source, Mask)>,
    places: Vec<Place>,
    /// By watched key: the places it gives a value for, and its position among the keys of each.
    by_key: Vec<Vec<(usize, usize)>>,
    /// Derivations with a place.
    claiming: Mask,
}

/// What all tables of a plan share while they are made.
pub struct Shared<'s> {
    pub slots: &'s mut Slots,
    pub interner: &'s mut Interner,
}

impl Table {
    /// Makes the table of `derivations`, each with the position of its metric. The error is that of a bad selector.
    pub fn new(
        derivations: Vec<(usize, DerivationPlan)>,
        metrics: &[MetricPlan],
        keys: &mut Keys,
        shared: &mut Shared<'_>,
    ) -> Result<Self, String> {
        let mut table = Self::default();
        let plans: Vec<_> = derivations.iter().map(|(_, plan)| plan).collect();
        table.late = LateTest::all(&plans, shared.slots, shared.interner);
        let mut known = Vec::new();
        for (at, (family, plan)) in derivations.into_iter().enumerate() {
            table.add_source(plan.source, at);
            let metric = &metrics[family];
            let derivation = table.derivation(at, family, &plan, metric, shared);
            table.derivations.push(derivation);
            let chosen = table.select(plan, &mut known, keys);
            match chosen.map_err(|error| format!("{}: {error}", metric.name))? {
                None => table.unselected |= 1 << at,
                Some(selector) => table.chosen_by[selector] |= 1 << at,
            }
        }
        table.watch(keys);
        Ok(table)
    }

    /// Asks for the attributes of all places.
    fn watch(&mut self, keys: &mut Keys) {
        for (at, place) in self.places.iter().enumerate() {
            self.claiming |= place.users;
            for (preference, key) in place.keys.iter().enumerate() {
                let watched = keys.watch(key) as usize;
                let length = self.by_key.len().max(watched + 1);
                self.by_key.resize_with(length, Vec::new);
                self.by_key[watched].push((at, preference));
            }
        }
    }

    fn add_source(&mut self, source: Source, at: usize) {
        match self.sources.iter_mut().find(|(known, _)| *known == source) {
            Some((_, mask)) => *mask |= 1 << at,
            None => self.sources.push((source, 1 << at)),
        }
    }

    /// The selector of a derivation; those that are alike are asked once.
    fn select(
        &mut self,
        plan: DerivationPlan,
        known: &mut Vec<String>,
        keys: &mut Keys,
    ) -> Result<Option<usize>, String> {
        let Some(spec) = plan.selector else {
            return Ok(None);
        };
        let text = format!("{spec:?}");
        if let Some(alike) = known.iter().position(|known| *known == text) {
            return Ok(Some(alike));
        }
        known.push(text);
        self.chosen_by.push(0);
        self.selection.add(spec, keys).map(Some)
    }

    fn derivation(
        &mut self,
        at: usize,
        family: usize,
        plan: &DerivationPlan,
        metric: &MetricPlan,
        shared: &mut Shared<'_>,
    ) -> Derivation {
        let labels = metric.labels.iter().enumerate();
        let labels = labels.map(|(index, label)| match plan.labels.get(&index) {
            None => self.label(at, &label.from, shared),
            Some(LabelOverride::Value(text)) => LabelFrom::Word(shared.interner.intern(text)),
            Some(LabelOverride::Metric(name)) => LabelFrom::Sibling(self.sibling(name)),
            Some(LabelOverride::Attributes(keys)) => {
                self.label(at, &LabelSource::Attributes(keys.clone()), shared)
            }
        });
        let labels = labels.collect();
        let states = plan.states.as_ref().map(|states| {
            let words = states.values.iter();
            let words = words.map(|(number, word)| (*number, shared.interner.intern(word)));
            (states.label, words.collect())
        });
        Derivation {
            family,
            value: match &plan.value {
                Measure::One => ValueFrom::One,
                Measure::Duration => ValueFrom::Duration,
                Measure::Point => ValueFrom::Given,
                Measure::Tokens => ValueFrom::Tokens,
                Measure::Cost => ValueFrom::Cost,
                Measure::Attributes(keys) => ValueFrom::Claim(self.place(at, keys, NUMBERS)),
            },
            scale: plan.scale,
            labels,
            is_row: metric.instrument == Instrument::Rows,
            states,
            takes: plan.takes,
        }
    }

    fn label(&mut self, at: usize, from: &LabelSource, shared: &Shared<'_>) -> LabelFrom {
        match (shared.slots.of_label(from), from) {
            (Some(slot), _) => LabelFrom::Slot(slot),
            (None, LabelSource::Attributes(keys)) => LabelFrom::Claim(self.place(at, keys, 0)),
            (None, LabelSource::Field(_)) => LabelFrom::Word(ABSENT),
        }
    }

    /// The number of the place for the value of `keys`, from `first` on.
    fn place(&mut self, at: usize, keys: &[String], first: u32) -> u32 {
        let alike =
            |place: &&mut Place| place.keys == keys && (place.number >= NUMBERS) == (first > 0);
        if let Some(place) = self.places.iter_mut().find(alike) {
            place.users |= 1 << at;
            return place.number;
        }
        let number = first + self.places.len() as u32;
        self.places.push(Place {
            keys: keys.to_vec(),
            number,
            users: 1 << at,
        });
        number
    }

    fn sibling(&mut self, name: &str) -> usize {
        let known = self.siblings.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.siblings.push(name.to_owned());
            self.siblings.len() - 1
        })
    }

    /// Whether what is in `slot` makes a difference.
    pub fn shows(&self, slot: usize) -> bool {
        self.showing(slot, |_| true) | self.testing(slot) != 0
    }

    /// The derivations whose items are to wait for what is in `slot`: rows take what is known.
    pub fn asking(&self, slot: usize) -> Mask {
        self.showing(slot, |one| !one.is_row) | self.testing(slot)
    }

    fn showing(&self, slot: usize, of: impl Fn(&Derivation) -> bool) -> Mask {
        let shown = self.derivations.iter().enumerate();
        let shown = shown.filter(|(_, one)| of(one) && one.labels.contains(&LabelFrom::Slot(slot)));
        shown.fold(0, |mask, (at, _)| mask | 1 << at)
    }

    fn testing(&self, slot: usize) -> Mask {
        let mut tests = self.late.iter().filter(|test| test.slot == slot);
        tests.next().map_or(0, LateTest::asking)
    }

    /// Whether no item is of interest.
    pub fn is_empty(&self) -> bool {
        self.derivations.is_empty()
    }

    /// The derivations of these sources.
    pub fn of(&self, sources: &[Source]) -> Mask {
        let all = self
            .sources
            .iter()
            .filter(|(source, _)| sources.contains(source));
        all.fold(0, |mask, (_, more)| mask | more)
    }

    /// Whether an item of this name could count, as far as the name tells.
    pub fn may_count(&self, name: &[u8]) -> bool {
        self.unselected != 0 || self.selection.may_select(name)
    }

    /// Makes extractor and selectors ready for an item.
    #[inline]
    pub fn enter<'a>(
        &mut self,
        extractor: &mut Extractor,
        interner: &mut Interner,
        context: &Context<'a>,
        lists: &mut Lists<'a>,
    ) {
        extractor.enter(interner, context, lists);
        if context.new_scope {
            self.selection.enter(context);
        }
    }

    /// The derivations that select the items they count.
    pub fn selecting(&self) -> Mask {
        !self.unselected
    }

    /// The derivations that an item is for at last, of those in `sources`.
    #[inline]
    pub fn counting(&self, sources: Mask, slots: &[Symbol], claims: Claims<'_>) -> Mask {
        let mut counting = sources & (self.unselected | claims.selected());
        for test in &self.late {
            counting &= test.taking(slots);
        }
        counting
    }

    /// The derivations that an item may be for, once its empty slots are filled; `selected` are those whose selector holds.
    #[inline]
    pub fn possible(&self, selected: Mask, slots: &[Symbol]) -> Mask {
        let tests = self.late.iter();
        tests.fold(self.unselected | selected, |possible, test| {
            possible & test.could_take(slots)
        })
    }

    /// Puts what has to be kept of an item into `claims`, and gives the derivations that it may be for.
    #[inline]
    pub fn claim<'a>(
        &self,
        item: &Candidate<'a, '_>,
        lists: &Lists<'a>,
        slots: &[Symbol],
        interner: &mut Interner,
        claims: &mut Vec<Claim>,
        faults: &mut Faults,
    ) -> Mask {
        claims.clear();
        let selectors = self.selection.select(item);
        let selected = members(selectors).fold(0, |mask, at| mask | self.chosen_by[at]);
        let possible = self.possible(selected, slots);
        if selected & possible != 0 {
            claims.extend(Claim::selected(selected & possible));
        }
        if self.claiming & possible != 0 {
            self.claim_values(possible, lists, interner, claims, faults);
        }
        possible
    }

    fn claim_values<'a>(
        &self,
        possible: Mask,
        lists: &Lists<'a>,
        interner: &mut Interner,
        claims: &mut Vec<Claim>,
        faults: &mut Faults,
    ) {
        let mut found: Vec<Found<'a>> = Vec::new();
        for (level, seen) in [&lists.item, &lists.scope, &lists.resource]
            .iter()
            .enumerate()
        {
            for (watched, value) in &seen.0 {
                let places = self.by_key.get(*watched as usize);
                for (place, preference) in places.into_iter().flatten() {
                    if self.places[*place].users & possible != 0 {
                        let one = (*place, (level, *preference), *value);
                        faults.left_out += u64::from(!keep(&mut found, one));
                    }
                }
            }
        }
        for (place, _, value) in found {
            let (place, value) = (self.places[place].number, AnyValue::parse(value));
            if place < NUMBERS {
                match symbol_of(value, interner) {
                    ABSENT => {}
                    symbol => claims.push(Claim::text(place, symbol)),
                }
            } else {
                match number(value) {
                    Some(number) => claims.push(Claim::number(place, number)),
                    None => faults.no_number += 1,
                }
            }
        }
    }
}

/// What was wrong with items, so that something of them could not be counted.
#[derive(Debug, Default)]
pub struct Faults {
    /// Attributes that were to be counted and are no number.
    pub no_number: u64,
    /// Attributes over `MAX_CLAIMS`.
    pub left_out: u64,
}

/// Place, level (of the item first) and preference among the keys of one level, value.
type Found<'a> = (usize, (usize, usize), &'a [u8]);

/// Keeps the value that is nearest and preferred; false where there are too many.
fn keep<'a>(found: &mut Vec<Found<'a>>, one: Found<'a>) -> bool {
    let is_full = found.len() >= MAX_CLAIMS;
    match found.iter_mut().find(|(place, ..)| *place == one.0) {
        Some(known) if one.1 < known.1 => *known = one,
        Some(_) => {}
        None if is_full => return false,
        None => found.push(one),
    }
    true
}
