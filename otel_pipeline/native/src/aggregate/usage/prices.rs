//! What tokens cost: prices by model, each valid from a date, some dearer above a number of input tokens.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{KIND_NAMES, Kind, Tokens};
use crate::aggregate::hash::HashMap;
use crate::aggregate::intern::Symbol;

/// One price of a model as plans write it, in USD for a million tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSpec {
    pub model: String,
    pub from_unix_ns: u64,
    pub per_million: BTreeMap<Kind, f64>,
    #[serde(default)]
    pub above: Option<AboveSpec>,
}

/// What holds instead for a request with more than so many input tokens, cached ones included.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboveSpec {
    pub input_tokens: u64,
    pub per_million: BTreeMap<Kind, f64>,
}

type Rates = [Option<f64>; KIND_NAMES.len()];

struct Price {
    from_unix_ns: u64,
    rates: Rates,
    above: Option<(f64, Rates)>,
}

/// Prices by the symbol of the model, which must be a pinned one.
#[derive(Default)]
pub struct Prices(HashMap<Symbol, Vec<Price>>);

impl Prices {
    /// The error names the model whose price is no amount of money.
    pub fn new(
        specs: &[PriceSpec],
        mut intern: impl FnMut(&str) -> Symbol,
    ) -> Result<Self, String> {
        let mut by_model: HashMap<Symbol, Vec<Price>> = HashMap::default();
        for spec in specs {
            let price = Price::new(spec).map_err(|problem| format!("{}: {problem}", spec.model))?;
            by_model.entry(intern(&spec.model)).or_default().push(price);
        }
        for prices in by_model.values_mut() {
            prices.sort_by_key(|price| price.from_unix_ns);
        }
        Ok(Self(by_model))
    }

    /// USD for `tokens` at `unix_ns`. Only one request as a whole is `priced_by_size`: sums of many have the plain
    /// price. None where the model, at that time, has no price for one of the kinds.
    pub fn cost_usd(
        &self,
        model: Symbol,
        tokens: &Tokens,
        unix_ns: u64,
        priced_by_size: bool,
    ) -> Option<f64> {
        let prices = self.0.get(&model)?;
        let valid = prices.partition_point(|price| price.from_unix_ns <= unix_ns);
        let rates = prices
            .get(valid.checked_sub(1)?)?
            .rates(tokens, priced_by_size);
        let used = tokens.iter().zip(rates).filter(|(count, _)| **count > 0.0);
        used.map(|(count, rate)| rate.map(|rate| count * rate / 1e6))
            .sum()
    }
}

impl Price {
    fn new(spec: &PriceSpec) -> Result<Self, String> {
        let rates = rates(&spec.per_million)?;
        let above = spec.above.as_ref().map(|above| {
            let mut dearer = self::rates(&above.per_million)?;
            for (rate, plain) in dearer.iter_mut().zip(rates) {
                *rate = rate.or(plain);
            }
            Ok::<_, String>((above.input_tokens as f64, dearer))
        });
        Ok(Self {
            from_unix_ns: spec.from_unix_ns,
            rates,
            above: above.transpose()?,
        })
    }

    fn rates(&self, tokens: &Tokens, priced_by_size: bool) -> &Rates {
        let prompt = [Kind::Input, Kind::CacheRead, Kind::CacheCreation];
        let prompt: f64 = prompt.iter().map(|kind| tokens[*kind as usize]).sum();
        match &self.above {
            Some((limit, rates)) if priced_by_size && prompt > *limit => rates,
            _ => &self.rates,
        }
    }
}

/// Reasoning without a price of its own is output.
fn rates(per_million: &BTreeMap<Kind, f64>) -> Result<Rates, String> {
    let mut rates = [None; KIND_NAMES.len()];
    for (kind, rate) in per_million {
        if !(rate.is_finite() && *rate >= 0.0) {
            return Err(format!("{rate} is no price"));
        }
        rates[*kind as usize] = Some(*rate);
    }
    rates[Kind::Reasoning as usize] =
        rates[Kind::Reasoning as usize].or(rates[Kind::Output as usize]);
    Ok(rates)
}
