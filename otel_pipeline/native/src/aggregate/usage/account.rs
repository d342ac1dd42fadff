//! All that the aggregator needs of usage: items in, tokens and cost out, once, for the metrics that count them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use super::ledger::{Cost, Counted, Counts, Ledger, Limits};
use super::prices::Prices;
use super::rules::{UsagePlan, UsageRules};
use super::{KIND_NAMES, Tokens, Usage};
use crate::aggregate::claims::{Claim, Claims};
use crate::aggregate::hash::HashMap;
use crate::aggregate::intern::{ABSENT, Symbol};
use crate::aggregate::keys::{Keys, Lists};
use crate::aggregate::metrics::{self, Metrics};
use crate::aggregate::plan::{Item, LateBinding};
use crate::aggregate::select::{Candidate, Mask, members};
use crate::aggregate::series::{Amount, Observation};
use crate::aggregate::table::{Shared, Table, ValueFrom};
use crate::otlp::Context;

pub struct Account {
    spans: UsageRules,
    pub events: UsageRules,
    pub points: UsageRules,
    ledger: Ledger,
    prices: Prices,
    /// The derivations from usage, and which of them count tokens and cost.
    pub table: Table,
    of_tokens: Mask,
    of_cost: Mask,
    /// The slots that the ledger keeps: those that a label shows, and the model.
    kept: Vec<usize>,
    model: usize,
    token_type: usize,
    kinds: [Symbol; KIND_NAMES.len()],
    missing: BTreeMap<String, u64>,
    /// Numbers that are none, negative, or beyond all counting.
    refused: u64,
    /// Working memory: labels for the ledger, what comes from it, and slots for the metrics.
    labels: Vec<Symbol>,
    sums: Sums,
    slots: Vec<Symbol>,
}

/// So many models without a price are told apart.
const MAX_MISSING: usize = 100;

impl Account {
    /// `keys` are those of spans, log records and data points. The error says what is wrong with the plan.
    pub fn new(
        plan: UsagePlan,
        late: &LateBinding,
        table: Table,
        keys: [&mut Keys; 3],
        shared: &mut Shared<'_>,
    ) -> Result<Self, String> {
        let [span_keys, event_keys, point_keys] = keys;
        let (spans, others) = plan
            .rules
            .into_iter()
            .partition(|rule| rule.item == Item::Span);
        let others: Vec<_> = others;
        let (events, points) = others
            .into_iter()
            .partition(|rule| rule.item == Item::Event);
        let model = shared.slots.attribute(&plan.model);
        let token_type = shared.slots.attribute(&plan.token_type);
        let is_kept = |slot: &usize| *slot != token_type && (*slot == model || table.shows(*slot));
        let counting = |value| {
            let all = (0..).zip(&table.derivations);
            let counting = all.filter(|(_, one)| one.value == value);
            counting.fold(0, |mask: Mask, (at, _)| mask | 1 << at)
        };
        let limits = Limits {
            decision_wait_ns: late.decision_wait_ns,
            max_wait_ns: late.max_wait_ns,
            max_requests: late.max_spans.max(1),
        };
        let kept: Vec<_> = (0..shared.slots.0.len()).filter(is_kept).collect();
        Ok(Self {
            spans: UsageRules::new(Item::Span, spans, span_keys)?,
            events: UsageRules::new(Item::Event, events, event_keys)?,
            points: UsageRules::new(Item::Point, points, point_keys)?,
            ledger: Ledger::new(limits, kept.len()),
            prices: Prices::new(&plan.prices, |model| shared.interner.intern(model))?,
            of_tokens: counting(ValueFrom::Tokens),
            of_cost: counting(ValueFrom::Cost),
            kept,
            table,
            model,
            token_type,
            kinds: KIND_NAMES.map(|kind| shared.interner.intern(kind)),
            missing: BTreeMap::new(),
            refused: 0,
            labels: Vec::new(),
            sums: Sums::default(),
            slots: vec![ABSENT; shared.slots.0.len()],
        })
    }

    /// Notes what a span tells, and claims it.
    #[inline]
    pub fn announce_span<'a>(
        &mut self,
        candidate: &Candidate<'a, '_>,
        lists: &Lists<'a>,
        context: &Context<'_>,
        time_ns: u64,
        claims: &mut Vec<Claim>,
        now_ns: u64,
    ) {
        if context.new_scope {
            self.spans.enter(context);
        }
        let told = self.spans.read(
            candidate,
            lists,
            context.resource,
            time_ns,
            &mut self.refused,
        );
        self.announce(told, claims, now_ns);
    }

    /// Notes what a log record tells, and claims it. `content` is a number made of all that the record says.
    #[inline]
    pub fn announce_event<'a>(
        &mut self,
        candidate: &Candidate<'a, '_>,
        lists: &Lists<'a>,
        context: &Context<'_>,
        (time_ns, content): (u64, impl FnOnce() -> u64),
        claims: &mut Vec<Claim>,
        now_ns: u64,
    ) {
        if context.new_scope {
            self.events.enter(context);
        }
        let resource = context.resource;
        let told = self
            .events
            .read(candidate, lists, resource, time_ns, &mut self.refused);
        let told = told.map(|usage| Usage {
            request: usage
                .request
                .or_else(|| NonZeroU64::new(content() ^ usage.whose.sender)),
            ..usage
        });
        self.announce(told, claims, now_ns);
    }

    fn announce(&mut self, told: Option<Usage>, claims: &mut Vec<Claim>, now_ns: u64) {
        if let Some(usage) = told {
            claims.push(Claim::usage(self.ledger.announce(usage, now_ns)));
        }
    }

    /// Forgets what an item claimed that was known already.
    pub fn withdraw(&mut self, claims: Claims<'_>) {
        if let Some(handle) = claims.usage() {
            self.ledger.withdraw(handle);
        }
    }

    /// Takes in what an item claimed, now that its labels are known.
    pub fn add(&mut self, handle: u64, slots: &[Symbol], now_ns: u64) {
        self.keep(slots);
        self.ledger.add(handle, &self.labels, now_ns);
    }

    /// Takes in what a data point tells that adds `value` to its stream.
    pub fn add_point<'a>(
        &mut self,
        candidate: &Candidate<'a, '_>,
        lists: &Lists<'a>,
        context: &Context<'_>,
        slots: &[Symbol],
        (time_ns, value): (u64, f64),
        now_ns: u64,
    ) {
        let refused = &mut self.refused;
        let told =
            self.points
                .read_point(candidate, lists, context.resource, time_ns, value, refused);
        if let Some(usage) = told {
            self.keep(slots);
            self.ledger.add_point(&usage, &self.labels, now_ns);
        }
    }

    fn keep(&mut self, slots: &[Symbol]) {
        self.labels.clear();
        self.labels
            .extend(self.kept.iter().map(|slot| slots[*slot]));
    }

    /// More waits than may: call `settle`.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.ledger.is_full()
    }

    /// Counts what is due, or everything. What has the same labels is added up first: many requests do.
    pub fn settle(&mut self, metrics: &mut Metrics, now_ns: u64, everything: bool) {
        let (prices, missing, sums) = (&self.prices, &mut self.missing, &mut self.sums);
        let model = self.kept.iter().position(|slot| *slot == self.model);
        self.ledger.settle(now_ns, everything, |counted| {
            let model = model.and_then(|at| counted.labels.get(at));
            let model = model.copied().unwrap_or(ABSENT);
            let is_priced = counted.cost == Cost::Untold && has_tokens(counted);
            let cost_usd = match counted.cost {
                Cost::Usd(usd) => Some(usd),
                _ if is_priced => cost_by_list(prices, model, counted),
                _ => None,
            };
            if is_priced && cost_usd.is_none() {
                add_missing(missing, metrics.interner.text(model));
            }
            sums.add(counted, cost_usd);
        });
        for sum in self.sums.take() {
            self.count(&sum, metrics, now_ns);
        }
    }

    fn count(&mut self, sum: &Sum, metrics: &mut Metrics, now_ns: u64) {
        for (slot, label) in self.kept.iter().zip(&sum.labels) {
            self.slots[*slot] = *label;
        }
        for (kind, count) in self.kinds.into_iter().zip(sum.tokens) {
            if count > 0.0 {
                self.slots[self.token_type] = kind;
                self.give(self.of_tokens, count, metrics, now_ns);
            }
        }
        self.slots[self.token_type] = ABSENT;
        if let Some(usd) = sum.cost_usd {
            self.give(self.of_cost, usd, metrics, now_ns);
        }
    }

    /// Gives an amount to the metrics whose derivations take it, with the labels that are in the slots.
    fn give(&self, derivations: Mask, amount: f64, metrics: &mut Metrics, now_ns: u64) {
        let item = metrics::Counted {
            slots: &self.slots,
            claims: Claims::default(),
            siblings: &[],
            duration_ns: 0,
            seen: Observation::default(),
        };
        let counting = self.table.counting(derivations, &self.slots, item.claims);
        for at in members(counting) {
            let derivation = &self.table.derivations[at];
            let amount = Amount::Number(amount * derivation.scale);
            metrics.give(derivation, &item, amount, now_ns);
        }
    }

    /// Requests whose cost nobody told and the list does not have, by model; of data points: sessions, now and then.
    pub fn missing_prices(&self) -> &BTreeMap<String, u64> {
        &self.missing
    }

    /// All label values that are held.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.ledger.symbols()
    }
}

/// Counts since the start, by name; all 0 where no usage is counted.
pub fn stats(account: Option<&Account>) -> [(&'static str, u64); 5] {
    let counts = account.map_or_else(Counts::default, |account| account.ledger.counts);
    [
        ("usage_duplicates", counts.duplicates),
        ("usage_superseded", counts.superseded),
        ("usage_forgotten", counts.forgotten),
        (
            "usage_invalid_numbers",
            account.map_or(0, |account| account.refused),
        ),
        (
            "usage_waiting",
            account.map_or(0, |account| account.ledger.waiting()),
        ),
    ]
}

/// Usage with the same labels, added up.
struct Sum {
    labels: Box<[Symbol]>,
    tokens: Tokens,
    /// None where there was no cost to add.
    cost_usd: Option<f64>,
}

/// In the order in which their labels first came.
#[derive(Default)]
struct Sums {
    sums: Vec<Sum>,
    by_labels: HashMap<Box<[Symbol]>, usize>,
}

impl Sums {
    fn add(&mut self, counted: &Counted<'_>, cost_usd: Option<f64>) {
        let at = match self.by_labels.get(counted.labels) {
            Some(at) => *at,
            None => self.begin(counted.labels.into()),
        };
        let sum = &mut self.sums[at];
        for (total, count) in sum.tokens.iter_mut().zip(counted.tokens) {
            *total += count;
        }
        if let Some(usd) = cost_usd {
            *sum.cost_usd.get_or_insert(0.0) += usd;
        }
    }

    fn begin(&mut self, labels: Box<[Symbol]>) -> usize {
        self.by_labels.insert(labels.clone(), self.sums.len());
        self.sums.push(Sum {
            labels,
            tokens: Tokens::default(),
            cost_usd: None,
        });
        self.sums.len() - 1
    }

    fn take(&mut self) -> Vec<Sum> {
        self.by_labels.clear();
        std::mem::take(&mut self.sums)
    }
}

fn has_tokens(counted: &Counted<'_>) -> bool {
    counted.tokens.iter().any(|count| *count > 0.0)
}

fn cost_by_list(prices: &Prices, model: Symbol, counted: &Counted<'_>) -> Option<f64> {
    let (tokens, at_ns) = (&counted.tokens, counted.time_ns);
    prices.cost_usd(model, tokens, at_ns, counted.is_request)
}

fn add_missing(missing: &mut BTreeMap<String, u64>, model: &str) {
    let model = match model {
        "" => "unknown",
        _ if missing.len() >= MAX_MISSING && !missing.contains_key(model) => "_OTHER",
        model => model,
    };
    *missing.entry(model.to_owned()).or_default() += 1;
}
