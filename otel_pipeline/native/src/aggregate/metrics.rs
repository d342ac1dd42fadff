//! All metrics, with the texts of their labels: where observations go that a table's derivations make of an item.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::claims::Claims;
use super::encode::Encoder;
use super::intern::{ABSENT, Interner, Symbol};
use super::plan::{Instrument, MAX_EXEMPLAR_ATTRIBUTES};
use super::rows::TextRow;
use super::select::{Mask, members};
use super::series::{Amount, Family, Moment, Observation};
use super::streams::Reading;
use super::table::{Derivation, LabelFrom, Table, ValueFrom};
use super::usage::account::Account;

/// Constants are repeated so often, or who shows them would think that they are gone.
const CONSTANTS_EVERY_NS: u64 = 60_000_000_000;

/// Gauges that got no value for so long are forgotten: what they were about is gone.
const GAUGE_EXPIRATION_NS: u64 = 3_600_000_000_000;

pub struct Metrics {
    pub interner: Interner,
    pub families: Vec<Family>,
    pub exemplar_names: Vec<String>,
    pub exemplar_slots: Vec<usize>,
    /// A series that is born now held nothing at this time, the last flush.
    pub start_unix_ns: u64,
    /// Series without a measurement for so long are forgotten; 0 = never.
    pub series_expiration_ns: u64,
    /// When constants are to be given next.
    pub constants_due_ns: u64,
    /// Tokens and cost, which are counted apart.
    pub usage: Option<Account>,
}

/// An item whose time has come, as its derivations see it.
pub struct Counted<'a> {
    pub slots: &'a [Symbol],
    pub claims: Claims<'a>,
    /// Values of other metrics of the same resource.
    pub siblings: &'a [Symbol],
    pub duration_ns: u64,
    pub seen: Observation,
}

impl Counted<'_> {
    #[inline]
    fn label(&self, from: LabelFrom) -> Symbol {
        match from {
            LabelFrom::Slot(slot) => self.slots[slot],
            LabelFrom::Claim(place) => self.claims.text_at(place),
            LabelFrom::Word(symbol) => symbol,
            LabelFrom::Sibling(at) => self.siblings.get(at).copied().unwrap_or(ABSENT),
        }
    }

    /// The values of a derivation's labels.
    #[inline]
    pub fn labels<'i>(&'i self, derivation: &'i Derivation) -> impl Iterator<Item = Symbol> + 'i {
        derivation.labels.iter().map(|from| self.label(*from))
    }

    /// What `derivation` observes; None where the item does not tell.
    #[inline]
    fn amount(&self, derivation: &Derivation, divisor: f64) -> Option<Amount> {
        let scale = derivation.scale;
        match derivation.value {
            ValueFrom::One if scale == 1.0 => Some(Amount::One),
            ValueFrom::One => Some(Amount::Number(scale)),
            ValueFrom::Duration if scale == 1.0 => Some(Amount::Nanoseconds(self.duration_ns)),
            ValueFrom::Duration => {
                let duration = self.duration_ns as f64 / divisor;
                Some(Amount::Number(duration * scale))
            }
            ValueFrom::Claim(place) => {
                let number = self.claims.number_at(place)?;
                Some(Amount::Number(number * scale))
            }
            ValueFrom::Given | ValueFrom::Tokens | ValueFrom::Cost => None,
        }
    }
}

impl Metrics {
    /// Records what the derivations in `counting` make of an item.
    #[inline]
    pub fn record(&mut self, table: &Table, counting: Mask, item: &Counted<'_>, now_ns: u64) {
        for at in members(counting) {
            let derivation = &table.derivations[at];
            let divisor = self.families[derivation.family].divisor;
            if let Some(amount) = item.amount(derivation, divisor) {
                self.give(derivation, item, amount, now_ns);
            }
        }
    }

    /// Records one amount for one derivation.
    #[inline]
    pub fn give(
        &mut self,
        derivation: &Derivation,
        item: &Counted<'_>,
        amount: Amount,
        now_ns: u64,
    ) {
        let labels = item.labels(derivation);
        self.give_to(derivation.family, labels, amount, &item.seen, now_ns);
    }

    /// Records one amount for these label values, before they are given their form.
    #[inline]
    pub fn give_to(
        &mut self,
        family: usize,
        labels: impl Iterator<Item = Symbol>,
        amount: Amount,
        seen: &Observation,
        now_ns: u64,
    ) {
        let moment = self.moment(now_ns);
        self.families[family].record(labels, amount, seen, moment, &mut self.interner);
    }

    /// Adds a histogram with these upper bounds to that of one derivation.
    pub fn give_distribution(
        &mut self,
        derivation: &Derivation,
        item: &Counted<'_>,
        added: &Reading,
        bounds: &[f64],
        now_ns: u64,
    ) {
        let moment = self.moment(now_ns);
        let (labels, scale) = (item.labels(derivation), derivation.scale);
        let family = &mut self.families[derivation.family];
        family.record_distribution(labels, added, bounds, scale, moment, &mut self.interner);
    }

    /// Counts the usage that is due, or everything.
    pub fn settle_usage(&mut self, now_ns: u64, everything: bool) {
        if let Some(mut usage) = self.usage.take() {
            usage.settle(self, now_ns, everything);
            self.usage = Some(usage);
        }
    }

    fn moment(&self, now_ns: u64) -> Moment {
        Moment {
            now_ns,
            start_unix_ns: self.start_unix_ns,
        }
    }

    pub fn exemplar_attributes(&self, slots: &[Symbol]) -> [Symbol; MAX_EXEMPLAR_ATTRIBUTES] {
        let mut attributes = [ABSENT; MAX_EXEMPLAR_ATTRIBUTES];
        for (attribute, slot) in attributes.iter_mut().zip(&self.exemplar_slots) {
            *attribute = slots[*slot];
        }
        attributes
    }

    /// The series that changed: a metrics request and its number of data points. Then forgets those that are through.
    pub fn take_changed(&mut self, now_ns: u64, unix_ns: u64) -> (Vec<u8>, u64) {
        if now_ns >= self.constants_due_ns {
            self.constants_due_ns = now_ns.saturating_add(CONSTANTS_EVERY_NS);
            let moment = self.moment(now_ns);
            for family in &mut self.families {
                family.repeat_constants(moment, &mut self.interner);
            }
        }
        let changed = self.families.iter_mut().map(Family::take_changed);
        let changed: Vec<_> = changed.collect();
        let encoder = Encoder {
            interner: &self.interner,
            exemplar_names: &self.exemplar_names,
            unix_ns,
        };
        let request = encoder.request(&self.families, &changed);
        self.start_unix_ns = self.start_unix_ns.max(unix_ns);
        self.expire(now_ns);
        request
    }

    /// The rows since the last call, by name of their plan.
    pub fn take_rows(&mut self) -> BTreeMap<String, Vec<TextRow>> {
        let interner = &self.interner;
        let asked = self.families.iter_mut();
        let asked = asked.filter(|family| family.plan.instrument == Instrument::Rows);
        let taken = asked.map(|family| (family.plan.name.clone(), family.rows.take(interner)));
        taken.collect()
    }

    fn expire(&mut self, now_ns: u64) {
        for family in &mut self.families {
            let after_ns = match (family.is_gauge(), self.series_expiration_ns) {
                (false, 0) => continue,
                (false, after_ns) => after_ns,
                (true, 0) => GAUGE_EXPIRATION_NS,
                (true, after_ns) => after_ns.min(GAUGE_EXPIRATION_NS),
            };
            if let Some(before_ns) = now_ns.checked_sub(after_ns) {
                family.expire(before_ns);
            }
        }
    }

    /// Lets go of label values that neither a series nor `others` refers to, if there are many.
    pub fn forget_texts(&mut self, others: impl Iterator<Item = Symbol>) {
        let (families, usage) = (&mut self.families, &self.usage);
        self.interner.sweep(|live| {
            families.iter_mut().for_each(|family| family.mark(live));
            usage.iter().flat_map(Account::symbols).for_each(&mut *live);
            others.for_each(live);
        });
    }
}
