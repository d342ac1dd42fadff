//! Cuts the spans of one trace into runs: connected spans of the same stage that are for the same requirement.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::names::Name;
use super::plan::Plan;
use super::spans::{Span, SpanReader};
use super::tree::Tree;
use crate::aggregate::hash::HashMap;
use crate::aggregate::intern::{ABSENT, Interner, Symbol};
use crate::aggregate::usage::KIND_NAMES;
use crate::aggregate::usage::ledger::{Cost, Ledger, Limits};
use crate::aggregate::usage::prices::Prices;

/// Kinds of errors that are told of one run; the rest is added up under the last.
const MAX_ERRORS: usize = 50;
const MAX_LINKS: usize = 256;
const MAX_KEYS: usize = 256;

/// As the store keeps it: a list in JSON, in the order of these fields.
#[derive(Debug, Serialize)]
pub struct Run(
    String,                             // span_id
    String,                             // parent
    String,                             // name
    String,                             // service
    String,                             // stage
    String,                             // agent
    String,                             // outcome
    bool,                               // is_stage
    u64,                                // start_ns
    u64,                                // end_ns
    u64,                                // spans
    Vec<(String, String, String)>,      // keys
    Vec<String>,                        // links
    Vec<(String, String, String, u64)>, // errors
    Vec<Model>,                         // usage
    u64,                                // interventions
    BTreeMap<String, String>,           // facts
);

type Model = (String, BTreeMap<&'static str, u64>, Option<f64>);

/// Makes runs by a plan.
pub struct RunMaker {
    reader: SpanReader,
    interner: Interner,
    prices: Prices,
    requirement: Option<u8>,
    outcomes: [String; 2],
    facts: Vec<String>,
}

/// A run while it is made.
#[derive(Default)]
struct Open {
    top: usize,
    parent: Option<usize>,
    start_ns: u64,
    end_ns: u64,
    spans: u64,
    agent: String,
    keys: BTreeSet<Name>,
    links: BTreeSet<u128>,
    errors: Vec<(String, String, u64, u64)>,
    interventions: u64,
    facts: BTreeMap<usize, String>,
}

/// What a span is after inheritance.
#[derive(Default, Clone)]
struct Place {
    stage: String,
    /// Values of requirements.
    requirement: Vec<String>,
    /// The nearest span around that is no noise.
    anchor: Option<usize>,
    run: Option<usize>,
    child_failed: bool,
}

impl RunMaker {
    pub fn new(mut plan: Plan) -> Result<Self, String> {
        let reader = SpanReader::new(&mut plan)?;
        let mut interner = Interner::default();
        let prices = plan.usage.as_ref().map_or(&[][..], |usage| &usage.prices);
        let prices = Prices::new(prices, |model| interner.intern(model))?;
        interner.pin();
        Ok(Self {
            requirement: reader.kind_of(&plan.run.requirement),
            reader,
            interner,
            prices,
            outcomes: [plan.run.success, plan.run.failure],
            facts: plan
                .facts
                .into_iter()
                .filter_map(|names| names.into_iter().next())
                .collect(),
        })
    }

    /// The runs of the trace whose spans are in `messages`, by start, each after the one that it was called from.
    pub fn runs<'a>(&mut self, messages: impl Iterator<Item = &'a [u8]>) -> Vec<Run> {
        let mut spans = Vec::new();
        for message in messages {
            self.reader
                .read(message, &mut self.interner, |span| spans.push(span));
        }
        let tree = Tree::new(spans);
        let mut places = self.places(&tree);
        let mut open = cut(&tree, &mut places);
        let usage = self.usage(&tree, &places, open.len());
        gather(&tree, &places, &mut open);
        let runs = self.finish(&tree, &places, open, usage);
        if self.interner.is_full() {
            self.interner.sweep(|_| {});
        }
        runs
    }

    fn places(&self, tree: &Tree) -> Vec<Place> {
        let mut places = vec![Place::default(); tree.spans.len()];
        for at in tree.order.iter().copied() {
            let (span, parent) = (&tree.spans[at], tree.parents[at]);
            let own = span
                .keys
                .iter()
                .filter(|key| Some(key.kind) == self.requirement);
            let mut requirement: Vec<_> = own.map(|key| key.value.clone()).collect();
            requirement.dedup();
            let mut place = Place {
                stage: span.stage.clone(),
                requirement,
                ..Place::default()
            };
            if let Some(around) = parent.map(|parent| &places[parent]) {
                if place.stage.is_empty() {
                    place.stage.clone_from(&around.stage);
                }
                if place.requirement.is_empty() {
                    place.requirement.clone_from(&around.requirement);
                }
                place.anchor = parent
                    .filter(|parent| !tree.spans[*parent].is_noise)
                    .or(around.anchor);
            }
            places[at] = place;
        }
        for at in tree.order.iter().rev().copied() {
            let span = &tree.spans[at];
            let failed = span.is_failed || span.is_noise && places[at].child_failed;
            if let Some(parent) = tree.parents[at] {
                places[parent].child_failed |= failed;
            }
        }
        places
    }

    /// Tokens and cost by run and model.
    fn usage(&self, tree: &Tree, places: &[Place], runs: usize) -> Vec<BTreeMap<Symbol, Sum>> {
        let limits = Limits {
            decision_wait_ns: 0,
            max_wait_ns: u64::MAX,
            max_requests: usize::MAX,
        };
        let mut ledger = Ledger::new(limits, 2);
        for at in tree.order.iter().copied() {
            let Some((run, usage)) = places[at].run.zip(tree.spans[at].usage) else {
                continue;
            };
            let handle = ledger.announce(usage, 0);
            ledger.add(handle, &[tree.spans[at].model, run as Symbol + 1], 0);
        }
        let mut sums: Vec<BTreeMap<Symbol, Sum>> = (0..runs).map(|_| BTreeMap::new()).collect();
        ledger.settle(u64::MAX, true, |counted| {
            let &[model, run] = counted.labels else {
                return;
            };
            let Some(models) = (run as usize)
                .checked_sub(1)
                .and_then(|run| sums.get_mut(run))
            else {
                return;
            };
            let (tokens, at_ns) = (&counted.tokens, counted.time_ns);
            let cost = match counted.cost {
                Cost::Usd(usd) => Some(usd),
                _ => self
                    .prices
                    .cost_usd(model, tokens, at_ns, counted.is_request),
            };
            models.entry(model).or_default().add(tokens, cost);
        });
        sums
    }

    fn finish(
        &self,
        tree: &Tree,
        places: &[Place],
        open: Vec<Open>,
        usage: Vec<BTreeMap<Symbol, Sum>>,
    ) -> Vec<Run> {
        let tops: Vec<_> = open.iter().map(|run| run.top).collect();
        let order = by_start(&open);
        let mut runs: Vec<_> = open.into_iter().zip(usage).map(Some).collect();
        let taken = order.into_iter().filter_map(|at| runs[at].take());
        let finished = taken.map(|(run, usage)| {
            let parent = run.parent.map_or(0, |parent| tree.spans[tops[parent]].id);
            self.finished(run, usage, parent, tree, places)
        });
        finished.collect()
    }

    fn finished(
        &self,
        run: Open,
        usage: BTreeMap<Symbol, Sum>,
        parent: u64,
        tree: &Tree,
        places: &[Place],
    ) -> Run {
        let (top, place) = (&tree.spans[run.top], &places[run.top]);
        let [success, failure] = &self.outcomes;
        let outcome = match (top.outcome.as_str(), top.is_failed) {
            ("", true) => failure,
            ("", false) => success,
            (told, _) => told,
        };
        let kind = |name: &Name| self.reader.names.kind_name(name.kind).to_owned();
        let keys = run.keys.into_iter().take(MAX_KEYS);
        let links = run.links.into_iter().take(MAX_LINKS);
        let errors = run.errors.into_iter();
        let facts = run.facts.into_iter();
        Run(
            span_id(top.id),
            span_id(parent),
            top.name.clone(),
            top.service.clone(),
            place.stage.clone(),
            run.agent,
            outcome.to_owned(),
            !place.stage.is_empty() && top.mark != Some(false),
            run.start_ns,
            run.end_ns,
            run.spans,
            keys.map(|name| (kind(&name), name.scope, name.value))
                .collect(),
            links.map(|id| format!("{id:032x}")).collect(),
            errors
                .map(|(kind, message, span, count)| (kind, message, span_id(span), count))
                .collect(),
            usage
                .into_iter()
                .map(|(model, sum)| sum.shown(self.interner.text(model)))
                .collect(),
            run.interventions,
            facts
                .filter_map(|(at, fact)| Some((self.facts.get(at)?.clone(), fact)))
                .collect(),
        )
    }
}

/// Gives every span that is no noise its run, and says where the runs begin.
fn cut(tree: &Tree, places: &mut [Place]) -> Vec<Open> {
    let mut runs: Vec<Open> = Vec::new();
    // Spans whose parent did not come belong together where the parent is the same.
    let mut orphans: HashMap<(u64, String, Vec<String>), usize> = HashMap::default();
    for at in tree.order.iter().copied() {
        let span = &tree.spans[at];
        if span.is_noise {
            continue;
        }
        let place = &places[at];
        let around = place.anchor.map(|anchor| &places[anchor]);
        let is_alike =
            |one: &&Place| one.stage == place.stage && one.requirement == place.requirement;
        let is_orphan = tree.parents[at].is_none() && span.parent_id != 0;
        let orphan = is_orphan.then(|| {
            (
                span.parent_id,
                place.stage.clone(),
                place.requirement.clone(),
            )
        });
        let known = match &orphan {
            Some(key) => orphans.get(key).copied(),
            None => around.filter(is_alike).and_then(|around| around.run),
        };
        let run = known
            .filter(|_| span.mark != Some(true))
            .unwrap_or_else(|| {
                runs.push(Open {
                    top: at,
                    parent: around.and_then(|around| around.run),
                    start_ns: span.start_ns,
                    end_ns: span.end_ns,
                    ..Open::default()
                });
                runs.len() - 1
            });
        if let Some(key) = orphan {
            orphans.entry(key).or_insert(run);
        }
        places[at].run = Some(run);
    }
    runs
}

/// Adds up what the spans of each run tell.
fn gather(tree: &Tree, places: &[Place], runs: &mut [Open]) {
    for at in tree.order.iter().copied() {
        let (span, place) = (&tree.spans[at], &places[at]);
        let Some(run) = place.run.and_then(|run| runs.get_mut(run)) else {
            continue;
        };
        run.start_ns = run.start_ns.min(span.start_ns);
        run.end_ns = run.end_ns.max(span.end_ns);
        run.spans += 1;
        run.interventions += u64::from(span.is_intervention);
        if run.agent.is_empty() {
            run.agent.clone_from(&span.agent);
        }
        run.keys.extend(span.keys.iter().cloned());
        run.links.extend(&span.links);
        for (fact, value) in &span.facts {
            run.facts.entry(*fact).or_insert_with(|| value.clone());
        }
        if span.is_failed && !place.child_failed {
            run.add_error(span);
        }
    }
}

impl Open {
    fn add_error(&mut self, span: &Span) {
        let is_full = self.errors.len() >= MAX_ERRORS;
        match self
            .errors
            .iter_mut()
            .find(|(kind, ..)| *kind == span.error_type)
        {
            Some((.., count)) => *count += 1,
            None if is_full => {
                if let Some((.., count)) = self.errors.last_mut() {
                    *count += 1;
                }
            }
            None => {
                let (kind, message) = (span.error_type.clone(), span.error_message.clone());
                self.errors.push((kind, message, span.id, 1));
            }
        }
    }
}

/// By start, but each after its parent.
fn by_start(runs: &[Open]) -> Vec<usize> {
    let mut keys: Vec<(u64, usize)> = Vec::with_capacity(runs.len());
    for (at, run) in runs.iter().enumerate() {
        // Parents are made before their children.
        let around = run
            .parent
            .and_then(|parent| keys.get(parent))
            .map_or(0, |(start_ns, _)| *start_ns);
        keys.push((run.start_ns.max(around), at));
    }
    keys.sort_unstable();
    keys.into_iter().map(|(_, at)| at).collect()
}

#[derive(Default)]
struct Sum {
    tokens: [f64; KIND_NAMES.len()],
    cost_usd: f64,
    has_cost: bool,
}

impl Sum {
    fn add(&mut self, tokens: &[f64], cost_usd: Option<f64>) {
        for (sum, count) in self.tokens.iter_mut().zip(tokens) {
            *sum += count;
        }
        self.cost_usd += cost_usd.unwrap_or(0.0);
        self.has_cost |= cost_usd.is_some();
    }

    fn shown(&self, model: &str) -> Model {
        let told = KIND_NAMES
            .into_iter()
            .zip(self.tokens)
            .filter(|(_, count)| *count > 0.0);
        let tokens = told.map(|(kind, count)| (kind, count as u64)).collect();
        (
            model.to_owned(),
            tokens,
            self.has_cost.then_some(self.cost_usd),
        )
    }
}

fn span_id(id: u64) -> String {
    match id {
        0 => String::new(),
        id => format!("{id:016x}"),
    }
}

/// The symbol of no model is that of the empty text.
const _: () = assert!(ABSENT == 0);
