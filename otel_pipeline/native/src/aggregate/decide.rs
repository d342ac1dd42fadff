//! What the spans of one trace are: labels from ancestors, stage runs, the models of stage runs, where errors begin.
//! Spans whose answer depends on a parent that may still come are left waiting.
#![forbid(unsafe_code)]

use std::cmp::Reverse;

use super::claims::Claims;
use super::hash::HashMap;
use super::intern::{ABSENT, Symbol};
use super::traces::{Record, State, Trace};

/// Where the rules' inputs are among the slots, and how long to wait.
pub struct Rules {
    pub stride: usize,
    pub stage: usize,
    pub model: usize,
    pub stage_run: usize,
    pub noise: usize,
    /// Values of `stage_run`; the first is that of `noise` too.
    pub run: Symbol,
    pub no_run: Symbol,
    pub inherited: Vec<usize>,
    pub decision_wait_ns: u64,
    pub max_wait_ns: u64,
}

/// One span that has been decided.
pub struct Decided<'a> {
    pub trace_id: u128,
    pub record: &'a Record,
    /// Label values after inheritance.
    pub labels: &'a [Symbol],
    pub claims: Claims<'a>,
    pub is_run: bool,
    /// Neither a run nor an operation.
    pub is_noise: bool,
    pub is_error: bool,
    /// A stage run whose child had to be counted as one before it came.
    pub is_late: bool,
}

/// How the known ancestors of a span end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum End {
    #[default]
    Root,
    /// At a span that did not arrive, and may never.
    Missing,
    /// At a span that did not arrive and will, as it is in the same process.
    Running,
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    parent: Option<usize>,
    /// The parent is known and of the same stage.
    continues: bool,
    end: End,
    is_run: bool,
    is_noise: bool,
    /// Something that is no noise begins here or around, all in one stage.
    covers: bool,
    /// A parent that did not arrive could be around, with nothing known in between that tells another stage.
    asks: bool,
    /// The nearest stage run around, itself included, all in one stage.
    run: Option<usize>,
    /// Whether a parent that did not arrive could change the answer.
    depends: bool,
    child_failed: bool,
    child_counted: bool,
    /// During walks: the number of the walk that was here; then, whether the order has it.
    walk: usize,
    ordered: bool,
}

/// Working memory, kept from trace to trace.
#[derive(Default)]
pub struct Decider {
    nodes: Vec<Node>,
    /// All positions, parents before children.
    order: Vec<usize>,
    path: Vec<usize>,
    labels: Vec<Symbol>,
}

impl Decider {
    /// Calls `count` for every waiting span of `trace` that is due (with `all`: for every waiting span), in order of
    /// arrival, and sets when the trace is due again. `lacks_label` says whether a span lacks a label worth waiting for.
    pub fn decide(
        &mut self,
        trace: &mut Trace,
        rules: &Rules,
        now_ns: u64,
        all: bool,
        lacks_label: impl Fn(&Record, &[Symbol], Claims<'_>) -> bool,
        mut count: impl FnMut(Decided<'_>),
    ) {
        self.resolve(trace, rules, &lacks_label);
        trace.due_ns = u64::MAX;
        for at in 0..trace.records.len() {
            if trace.records[at].state != State::Waiting {
                continue;
            }
            let node = &self.nodes[at];
            let due_ns = node.due_ns(&trace.records[at], trace.last_arrival_ns, rules);
            if due_ns > now_ns && !all {
                trace.due_ns = trace.due_ns.min(due_ns);
                continue;
            }
            let labels = &self.labels[at * rules.stride..][..rules.stride];
            let topmost = node.is_run && labels[rules.stage_run] != rules.run;
            trace.records[at].state = if topmost {
                State::CountedAsTopmost
            } else {
                State::Counted
            };
            trace.waiting -= 1;
            let record = &trace.records[at];
            count(Decided {
                trace_id: trace.id,
                record,
                labels,
                claims: trace.claims(at),
                is_run: node.is_run,
                is_noise: node.is_noise,
                is_error: record.failed && !node.child_failed,
                is_late: node.is_run && node.child_counted,
            });
        }
    }

    fn resolve(
        &mut self,
        trace: &Trace,
        rules: &Rules,
        lacks_label: &impl Fn(&Record, &[Symbol], Claims<'_>) -> bool,
    ) {
        self.nodes.clear();
        self.nodes.resize(trace.records.len(), Node::default());
        self.labels.clone_from(&trace.slots);
        self.link(trace);
        self.cut_cycles(trace);
        self.sort();
        for position in 0..self.order.len() {
            let at = self.order[position];
            self.inherit(at, rules);
            self.classify(at, trace.records[at].is_event, rules);
            let (node, labels) = (&mut self.nodes[at], &self.labels[at * rules.stride..]);
            node.depends = node.end != End::Root
                && (node.depends
                    || lacks_label(
                        &trace.records[at],
                        &labels[..rules.stride],
                        trace.claims(at),
                    ));
        }
        self.note_children(trace);
        self.give_models(trace, rules);
    }

    fn link(&mut self, trace: &Trace) {
        let has_spans = trace.records.iter().any(|record| !record.is_event);
        for (node, record) in self.nodes.iter_mut().zip(&trace.records) {
            node.parent = match record.parent_id {
                0 => None,
                parent_id => trace.find(parent_id),
            };
            node.end = match node.parent {
                None if record.parent_id == 0 => End::Root,
                None if record.parent_is_local && has_spans => End::Running,
                None => End::Missing,
                Some(_) => End::Root,
            };
        }
    }

    /// Spans that are their own ancestors: the one that began first becomes a root.
    fn cut_cycles(&mut self, trace: &Trace) {
        for from in 0..self.nodes.len() {
            let mut at = from;
            while self.nodes[at].walk == 0 {
                self.nodes[at].walk = from + 1;
                match self.nodes[at].parent {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            if self.nodes[at].walk == from + 1 && self.nodes[at].parent.is_some() {
                let first = self.first_of_cycle(trace, at);
                self.nodes[first].parent = None;
            }
        }
    }

    fn first_of_cycle(&self, trace: &Trace, from: usize) -> usize {
        let (mut first, mut at) = (from, from);
        while let Some(parent) = self.nodes[at].parent {
            at = parent;
            if age(&trace.records[at]) < age(&trace.records[first]) {
                first = at;
            }
            if at == from {
                break;
            }
        }
        first
    }

    fn sort(&mut self) {
        self.order.clear();
        for from in 0..self.nodes.len() {
            let mut next = Some(from);
            while let Some(at) = next.filter(|at| !self.nodes[*at].ordered) {
                self.nodes[at].ordered = true;
                self.path.push(at);
                next = self.nodes[at].parent;
            }
            self.order.extend(self.path.drain(..).rev());
        }
    }

    fn inherit(&mut self, at: usize, rules: &Rules) {
        let Some(parent) = self.nodes[at].parent else {
            return;
        };
        self.nodes[at].end = self.nodes[parent].end;
        for slot in &rules.inherited {
            let place = at * rules.stride + slot;
            if self.labels[place] == ABSENT {
                self.labels[place] = self.labels[parent * rules.stride + slot];
            }
        }
    }

    fn classify(&mut self, at: usize, is_event: bool, rules: &Rules) {
        let mut node = self.nodes[at];
        let own = &self.labels[at * rules.stride..][..rules.stride];
        let stage_of_parent = node
            .parent
            .map(|parent| self.labels[parent * rules.stride + rules.stage]);
        let mark = own[rules.stage_run];
        let has_stage = own[rules.stage] != ABSENT && !is_event; // An event is no part of a run.
        node.continues = has_stage && stage_of_parent == Some(own[rules.stage]);
        let around = node
            .parent
            .filter(|_| node.continues)
            .map(|parent| &self.nodes[parent]);
        let is_covered = around.is_some_and(|around| around.covers);
        node.is_noise = own[rules.noise] == rules.run;
        node.covers = has_stage && (!node.is_noise || is_covered);
        let is_topmost = mark != rules.no_run && !is_covered;
        node.is_run = has_stage && !node.is_noise && (mark == rules.run || is_topmost);
        node.run = match node.parent {
            _ if node.is_run => Some(at),
            Some(parent) if node.continues => self.nodes[parent].run,
            _ => None,
        };
        node.asks =
            stage_of_parent.unwrap_or(ABSENT) == ABSENT || around.is_some_and(|around| around.asks);
        let asks_parent =
            is_topmost && !node.is_noise && !is_event && mark != rules.run && node.asks;
        node.depends = asks_parent;
        self.nodes[at] = node;
    }

    /// Tells parents which children failed, and which were counted as a stage run in their stead; children first.
    fn note_children(&mut self, trace: &Trace) {
        for at in self.order.iter().rev().copied() {
            let (node, record) = (&self.nodes[at], &trace.records[at]);
            if let Some(parent) = node.parent {
                let counted = record.state == State::CountedAsTopmost;
                let counted = node.continues && (counted || node.is_noise && node.child_counted);
                let failed = record.failed || node.is_noise && node.child_failed;
                self.nodes[parent].child_failed |= failed;
                self.nodes[parent].child_counted |= counted;
            }
        }
    }

    /// A stage run without a model takes that of most spans inside; of equally many, that of the first.
    fn give_models(&mut self, trace: &Trace, rules: &Rules) {
        let mut ballots: HashMap<usize, Ballot> = HashMap::default();
        for at in self.order.iter().rev().copied() {
            let Some(run) = self.nodes[at].run else {
                continue;
            };
            let own = trace.slots[at * rules.stride + rules.model];
            if own != ABSENT {
                ballots
                    .entry(run)
                    .or_default()
                    .add(own, 1, age(&trace.records[at]));
            }
            if run == at {
                let Some(ballot) = ballots.remove(&at) else {
                    continue;
                };
                let place = at * rules.stride + rules.model;
                if own == ABSENT {
                    self.labels[place] = ballot.winner();
                }
                let around = self.nodes[at].parent.filter(|_| self.nodes[at].continues);
                if let Some(outer) = around.and_then(|parent| self.nodes[parent].run) {
                    ballots.entry(outer).or_default().merge(ballot);
                }
            }
        }
    }
}

impl Node {
    fn due_ns(&self, record: &Record, last_arrival_ns: u64, rules: &Rules) -> u64 {
        match self.end {
            End::Running if self.depends => last_arrival_ns.saturating_add(rules.max_wait_ns),
            End::Missing if self.depends => last_arrival_ns.saturating_add(rules.decision_wait_ns),
            _ => record.arrived_ns.saturating_add(rules.decision_wait_ns),
        }
    }
}

/// Orders spans by when they began, the same way whatever the order of arrival.
fn age(record: &Record) -> (u64, u64) {
    (record.start_ns, record.span_id)
}

/// How many spans name each model, and the first that does.
#[derive(Default)]
struct Ballot(HashMap<Symbol, (u64, (u64, u64))>);

impl Ballot {
    fn add(&mut self, model: Symbol, votes: u64, first: (u64, u64)) {
        let entry = self.0.entry(model).or_insert((0, first));
        entry.0 += votes;
        entry.1 = entry.1.min(first);
    }

    /// The smaller one is poured into the larger, which keeps deep nests of runs cheap.
    fn merge(&mut self, mut other: Self) {
        if other.0.len() > self.0.len() {
            std::mem::swap(self, &mut other);
        }
        for (model, (votes, first)) in other.0 {
            self.add(model, votes, first);
        }
    }

    fn winner(&self) -> Symbol {
        let best = self
            .0
            .iter()
            .max_by_key(|(_, (votes, first))| (*votes, Reverse(*first)));
        best.map_or(ABSENT, |(model, _)| *model)
    }
}
