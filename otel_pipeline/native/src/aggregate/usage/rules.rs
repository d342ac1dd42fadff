//! What one item tells of usage, by the rules of its sender.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::num::NonZeroU64;

use serde::Deserialize;

use super::prices::PriceSpec;
use super::{COST_USD, Kind, Numbers, Telling, Usage, Whose};
use crate::aggregate::hash::Seeded;
use crate::aggregate::keys::{Keys, Lists, Seen};
use crate::aggregate::plan::Item;
use crate::aggregate::select::{Candidate, Selection, SelectorSpec};
use crate::aggregate::text::number;
use crate::otlp::{AnyValue, Context, RESOURCE_ATTRIBUTES, attributes};

/// The part of a plan that is about usage; `_native.pyi` documents it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsagePlan {
    pub rules: Vec<RuleSpec>,
    #[serde(default)]
    pub prices: Vec<PriceSpec>,
    /// Attribute with the model, as prices name it.
    pub model: String,
    /// Attribute that takes the kind of tokens.
    pub token_type: String,
}

/// How one kind of item tells usage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    pub item: Item,
    #[serde(default)]
    selector: SelectorSpec,
    /// Keys of the request's id, and of the session's, in order of preference; here, in scope or resource.
    #[serde(default)]
    request: Vec<String>,
    #[serde(default)]
    session: Vec<String>,
    /// Keys of numbers on a span or log record.
    #[serde(default)]
    tokens: BTreeMap<Kind, Vec<String>>,
    #[serde(default)]
    cost_usd: Vec<String>,
    /// The item tells several requests together.
    #[serde(default)]
    sum: bool,
    /// Kinds that this sender counts inside another.
    #[serde(default)]
    inside: BTreeMap<Kind, Kind>,
    /// What the value of a data point is.
    #[serde(default)]
    value: Option<ValueSpec>,
    #[serde(default)]
    kind: Option<KindSpec>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ValueSpec {
    Tokens,
    Cost,
}

/// The kind that a data point's value is: always the same one, or by an attribute. A value that the map does not have
/// is no kind (a total, say).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum KindSpec {
    Always(Kind),
    By {
        attribute: String,
        map: Vec<(String, Kind)>,
    },
}

/// Keys are numbers of watched ones.
struct Rule {
    request: Vec<u32>,
    session: Vec<u32>,
    tokens: Vec<(Kind, Vec<u32>)>,
    cost_usd: Vec<u32>,
    inside: Vec<(Kind, Kind)>,
    is_sum: bool,
    value: Value,
}

/// What the value of a data point is.
enum Value {
    Nothing,
    Cost,
    Tokens(Kind),
    TokensBy(u32, Vec<(String, Kind)>),
}

/// The rules for one kind of item.
pub struct UsageRules {
    item: Item,
    selection: Selection,
    rules: Vec<Rule>,
    /// By watched key: whether some rule reads tokens or cost there.
    numbers: Vec<bool>,
    /// Hash of the sender at hand, once somebody asked.
    sender: Option<u64>,
}

/// What describes the machine and the process, and may differ between the signals of one sender.
const NOT_THE_SENDER: [&[u8]; 4] = [b"host.", b"os.", b"process.", b"telemetry."];

/// Larger numbers are no count of tokens: doubles no longer tell whole ones apart.
const MOST: f64 = 9_007_199_254_740_992.0;

impl UsageRules {
    /// The rules for items of one kind; `keys` are those of their attributes. The error names the rule by its place.
    pub fn new(item: Item, specs: Vec<RuleSpec>, keys: &mut Keys) -> Result<Self, String> {
        let (mut selection, mut rules) = (Selection::default(), Vec::new());
        for (at, spec) in specs.into_iter().enumerate() {
            let (selector, rule) = Rule::new(spec, keys);
            let added = selection.add(selector, keys);
            added.map_err(|problem| format!("usage rule {at} for {item:?}: {problem}"))?;
            rules.push(rule);
        }
        let mut numbers = vec![false; keys.watched()];
        for key in rules.iter().flat_map(Rule::number_keys) {
            numbers[*key as usize] = true;
        }
        Ok(Self {
            item,
            selection,
            rules,
            numbers,
            sender: None,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Looks at a new resource or scope; to be called before the items below it are read.
    pub fn enter(&mut self, context: &Context<'_>) {
        self.selection.enter(context);
        if context.new_resource {
            self.sender = None;
        }
    }

    /// Whether an item of this name could tell usage, as far as the name tells.
    pub fn may_select(&self, name: &[u8]) -> bool {
        self.selection.may_select(name)
    }

    /// Whether a data point may tell usage, so that its increase must be known.
    pub fn selects(&self, candidate: &Candidate<'_, '_>) -> bool {
        self.selection.holding(candidate).next().is_some()
    }

    /// What a span or log record tells, by the first rule that finds a number in it; `resource` is that of `context`.
    /// Numbers that are none are `refused` and counted there.
    pub fn read<'a>(
        &mut self,
        candidate: &Candidate<'a, '_>,
        lists: &Lists<'a>,
        resource: &[u8],
        time_ns: u64,
        refused: &mut u64,
    ) -> Option<Usage> {
        let told = &candidate.seen.0;
        if !told.iter().any(|(key, _)| self.is_number(*key)) {
            return None;
        }
        self.selection.holding(candidate).find_map(|at| {
            let rule = &self.rules[at];
            let numbers = rule.numbers(candidate.seen, refused);
            if numbers.is_empty() {
                return None;
            }
            let request = identity(&rule.request, lists).map(|id| hash("request", id));
            Some(Usage {
                request,
                has_id: request.is_some(),
                whose: whose(&mut self.sender, rule, lists, resource),
                item: Telling::of(self.item, rule.is_sum),
                numbers,
                time_ns: known_time(time_ns),
            })
        })
    }

    /// What a data point tells that adds `value` to its stream.
    pub fn read_point<'a>(
        &mut self,
        candidate: &Candidate<'a, '_>,
        lists: &Lists<'a>,
        resource: &[u8],
        time_ns: u64,
        value: f64,
        refused: &mut u64,
    ) -> Option<Usage> {
        self.selection.holding(candidate).find_map(|at| {
            let rule = &self.rules[at];
            let numbers = rule.point(candidate.seen, value)?;
            if !is_amount(value) {
                *refused += 1;
                return None;
            }
            Some(Usage {
                request: None,
                has_id: false,
                whose: whose(&mut self.sender, rule, lists, resource),
                item: Telling::Point,
                numbers,
                time_ns: known_time(time_ns),
            })
        })
    }

    #[inline]
    fn is_number(&self, key: u32) -> bool {
        self.numbers.get(key as usize).is_some_and(|is| *is)
    }
}

impl Rule {
    fn new(spec: RuleSpec, keys: &mut Keys) -> (SelectorSpec, Self) {
        let mut watched = |names: Vec<String>| -> Vec<u32> {
            names.iter().map(|name| keys.watch(name)).collect()
        };
        let tokens = spec.tokens.into_iter();
        let rule = Self {
            request: watched(spec.request),
            session: watched(spec.session),
            tokens: tokens.map(|(kind, names)| (kind, watched(names))).collect(),
            cost_usd: watched(spec.cost_usd),
            inside: spec.inside.into_iter().collect(),
            is_sum: spec.sum,
            value: match (spec.value, spec.kind) {
                (Some(ValueSpec::Cost), _) => Value::Cost,
                (_, Some(KindSpec::Always(kind))) => Value::Tokens(kind),
                (_, Some(KindSpec::By { attribute, map })) => {
                    Value::TokensBy(keys.watch(&attribute), map)
                }
                _ => Value::Nothing,
            },
        };
        (spec.selector, rule)
    }

    fn number_keys(&self) -> impl Iterator<Item = &u32> {
        let tokens = self.tokens.iter().flat_map(|(_, keys)| keys);
        tokens.chain(&self.cost_usd)
    }

    /// What a span or log record tells.
    fn numbers(&self, seen: &Seen<'_>, refused: &mut u64) -> Numbers {
        let mut numbers = Numbers::default();
        for (kind, keys) in &self.tokens {
            if let Some(number) = first(seen, keys, refused) {
                numbers.put(*kind as usize, number);
            }
        }
        let told = numbers;
        for (inner, outer) in &self.inside {
            let pair = told.get(*inner as usize).zip(numbers.get(*outer as usize));
            if let Some((inner, whole)) = pair {
                numbers.put(*outer as usize, (whole - inner).max(0.0));
            }
        }
        if let Some(usd) = first(seen, &self.cost_usd, refused) {
            numbers.put(COST_USD, usd);
        }
        numbers
    }

    /// What a data point tells; None where that is neither tokens nor cost.
    fn point(&self, seen: &Seen<'_>, value: f64) -> Option<Numbers> {
        let mut numbers = Numbers::default();
        let kind = match &self.value {
            Value::Nothing => return None,
            Value::Cost => {
                numbers.put(COST_USD, value);
                return Some(numbers);
            }
            Value::Tokens(kind) => *kind,
            Value::TokensBy(key, map) => {
                let AnyValue::Str(text) = seen.get(*key)? else {
                    return None;
                };
                map.iter().find(|(name, _)| name == text)?.1
            }
        };
        for (_, outer) in self.inside.iter().filter(|(inner, _)| *inner == kind) {
            numbers.put(*outer as usize, -value);
        }
        numbers.put(kind as usize, value);
        Some(numbers)
    }
}

/// The number under the first key that is there.
fn first(seen: &Seen<'_>, keys: &[u32], refused: &mut u64) -> Option<f64> {
    let value = keys.iter().find_map(|key| seen.get(*key))?;
    if matches!(value, AnyValue::Empty | AnyValue::Str("")) {
        return None;
    }
    let amount = number(value).filter(|number| is_amount(*number));
    *refused += u64::from(amount.is_none());
    amount
}

/// False for NaN, too.
fn is_amount(number: f64) -> bool {
    (0.0..=MOST).contains(&number)
}

fn known_time(time_ns: u64) -> u64 {
    match time_ns {
        0 => u64::MAX,
        time_ns => time_ns,
    }
}

/// The first identity under one of `keys`: of the item, else of its scope, else of its resource. Where a key stands
/// twice, the text: Rust's `tracing` gives a span the number of its operating system's thread as `thread.id`, too.
fn identity<'a>(keys: &[u32], lists: &Lists<'a>) -> Option<AnyValue<'a>> {
    [&lists.item, &lists.scope, &lists.resource]
        .iter()
        .find_map(|seen| {
            let mut found = keys.iter().filter_map(|key| {
                let values = seen.all(*key).filter(is_identity);
                values.min_by_key(|value| !matches!(value, AnyValue::Str(_)))
            });
            found.next()
        })
}

fn is_identity(value: &AnyValue<'_>) -> bool {
    match value {
        AnyValue::Str(text) => !text.is_empty(),
        AnyValue::Int(_) => true,
        _ => false,
    }
}

fn whose(sender: &mut Option<u64>, rule: &Rule, lists: &Lists<'_>, resource: &[u8]) -> Whose {
    let session = identity(&rule.session, lists);
    Whose {
        session: session.map(|value| hash("session", value)),
        sender: *sender.get_or_insert_with(|| sender_hash(resource)),
    }
}

fn hash(domain: &str, value: AnyValue<'_>) -> NonZeroU64 {
    let mut hasher = Seeded::default().build_hasher();
    domain.hash(&mut hasher);
    match value {
        AnyValue::Str(text) => text.hash(&mut hasher),
        AnyValue::Int(number) => number.to_string().hash(&mut hasher),
        _ => {}
    }
    NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN)
}

/// The same for every order of the attributes.
fn sender_hash(resource: &[u8]) -> u64 {
    let describes_sender = |key: &[u8]| !NOT_THE_SENDER.iter().any(|part| key.starts_with(part));
    attributes(resource, RESOURCE_ATTRIBUTES)
        .filter(|(key, _)| describes_sender(key))
        .map(|attribute| Seeded::default().hash_one(attribute))
        .fold(0, u64::wrapping_add)
}
