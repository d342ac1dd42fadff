//! All that the aggregator needs of usage: items in, priced usage out, once.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::Tokens;
use super::ledger::{Cost, Counted, Ledger, Limits};
use super::prices::Prices;
use crate::aggregate::intern::{Interner, Symbol};

/// Usage that is to be counted, now.
pub struct Priced<'a> {
    pub labels: &'a [Symbol],
    /// In the order of `Kind`.
    pub tokens: &'a Tokens,
    /// None where nobody told it and the list has no price, or where it is told elsewhere.
    pub cost_usd: Option<f64>,
}

pub struct Account {
    pub ledger: Ledger,
    prices: Prices,
    /// Where the model is among the labels.
    model: usize,
    missing: BTreeMap<String, u64>,
}

/// So many models without a price are told apart.
const MAX_MISSING: usize = 100;

impl Account {
    pub fn new(limits: Limits, prices: Prices, model: usize) -> Self {
        Self {
            ledger: Ledger::new(limits),
            prices,
            model,
            missing: BTreeMap::new(),
        }
    }

    /// Hands on what is due, or everything.
    pub fn settle(
        &mut self,
        interner: &Interner,
        now_ns: u64,
        everything: bool,
        mut count: impl FnMut(&Priced<'_>),
    ) {
        let (prices, missing, model) = (&self.prices, &mut self.missing, self.model);
        self.ledger.settle(now_ns, everything, |counted| {
            let model = counted.labels.get(model).copied().unwrap_or_default();
            let cost_usd = cost_usd(prices, model, counted);
            let has_tokens = counted.tokens.iter().any(|count| *count > 0.0);
            if cost_usd.is_none() && counted.cost == Cost::Untold && has_tokens {
                add_missing(missing, interner.text(model));
            }
            count(&Priced {
                labels: counted.labels,
                tokens: &counted.tokens,
                cost_usd,
            });
        });
    }

    /// Requests (of data points: sessions, now and then) without a cost, by model.
    pub fn missing_prices(&self) -> &BTreeMap<String, u64> {
        &self.missing
    }
}

fn cost_usd(prices: &Prices, model: Symbol, counted: &Counted<'_>) -> Option<f64> {
    match counted.cost {
        Cost::Usd(usd) => Some(usd),
        Cost::Elsewhere => None,
        Cost::Untold => {
            prices.cost_usd(model, &counted.tokens, counted.time_ns, counted.is_request)
        }
    }
}

fn add_missing(missing: &mut BTreeMap<String, u64>, model: &str) {
    let model = match model {
        "" => "unknown",
        _ if missing.len() >= MAX_MISSING && !missing.contains_key(model) => "_OTHER",
        model => model,
    };
    *missing.entry(model.to_owned()).or_default() += 1;
}
