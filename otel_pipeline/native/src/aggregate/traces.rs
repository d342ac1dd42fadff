//! The traces that are waiting for spans: a compact record of each span, bounded in number.
//! A trace stays after all its spans were counted, so that late ones find their parents and repeated ones are known.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::claims::{Claim, Claims};
use super::hash::HashMap;
use super::intern::Symbol;

/// What is kept of one span or event; its label values are in `Trace::slots`.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Of an event a number made of its content, so that repeated ones are known.
    pub span_id: u64,
    /// 0 for the root; of an event the span that it happened in.
    pub parent_id: u64,
    pub start_ns: u64,
    pub duration_ns: u64,
    /// When it came, by the monotonic clock.
    pub arrived_ns: u64,
    pub parent_is_local: bool,
    pub failed: bool,
    /// A log record: a leaf below its span.
    pub is_event: bool,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Waiting,
    Counted,
    /// As a stage run that no rule had marked.
    CountedAsTopmost,
}

#[derive(Debug, Default)]
pub struct Trace {
    /// 0 in an unused place.
    pub id: u128,
    pub records: Vec<Record>,
    /// The label values of record i are at `i * stride`.
    pub slots: Vec<Symbol>,
    /// In the order of the records.
    pub claims: Vec<Claim>,
    pub last_arrival_ns: u64,
    /// How many records are not counted yet, and when to look at them next.
    pub waiting: usize,
    pub due_ns: u64,
    /// Position by span id, of traces too large to search.
    index: HashMap<u64, u32>,
    is_open: bool,
    ticket: u64,
}

/// Up to so many records are searched one by one.
const SEARCHED: usize = 16;

impl Trace {
    pub fn find(&self, span_id: u64) -> Option<usize> {
        if self.records.len() > SEARCHED {
            return self.index.get(&span_id).map(|at| *at as usize);
        }
        self.records
            .iter()
            .position(|record| record.span_id == span_id)
    }

    /// What was kept of the record at `at` beside its slots.
    #[inline]
    pub fn claims(&self, at: usize) -> Claims<'_> {
        if self.claims.is_empty() {
            return Claims::default();
        }
        let from = self
            .claims
            .partition_point(|one| (one.record as usize) < at);
        let own = self.claims[from..].partition_point(|one| one.record as usize == at);
        Claims(&self.claims[from..from + own])
    }

    fn push(&mut self, record: Record, slots: &[Symbol], claims: &[Claim]) {
        let at = self.records.len() as u32;
        let claims = claims.iter();
        self.claims
            .extend(claims.map(|one| Claim { record: at, ..*one }));
        if self.records.is_empty() {
            self.records.reserve_exact(1); // Many traces have no second span; a vector begins with room for four.
        }
        self.records.push(record);
        self.slots.extend_from_slice(slots);
        match self.records.len() {
            len if len <= SEARCHED => {}
            len if len == SEARCHED + 1 => {
                let places = self.records.iter().zip(0..);
                self.index = places.map(|(record, at)| (record.span_id, at)).collect();
            }
            len => _ = self.index.insert(record.span_id, len as u32 - 1),
        }
    }
}

#[derive(Default)]
pub struct Traces {
    /// Records in all traces, and those of them that are not counted yet.
    pub records: usize,
    pub waiting: usize,
    by_id: HashMap<u128, usize>,
    places: Vec<Trace>,
    free: Vec<usize>,
    /// Places of traces with waiting records.
    open: Vec<usize>,
    /// Places of the others, oldest first. An entry holds while the trace has its ticket.
    settled: VecDeque<(usize, u64)>,
    tickets: u64,
    recent: usize,
}

impl Traces {
    /// Takes a record in; false where the trace has one with its id already.
    pub fn add(
        &mut self,
        id: u128,
        record: Record,
        slots: &[Symbol],
        claims: &[Claim],
        due_ns: u64,
    ) -> bool {
        let at = self.place(id);
        let trace = &mut self.places[at];
        if trace.find(record.span_id).is_some() {
            return false;
        }
        trace.push(record, slots, claims);
        trace.last_arrival_ns = record.arrived_ns;
        trace.due_ns = if trace.waiting == 0 {
            due_ns
        } else {
            trace.due_ns.min(due_ns)
        };
        trace.waiting += 1;
        if !trace.is_open {
            trace.is_open = true;
            self.open.push(at);
        }
        self.records += 1;
        self.waiting += 1;
        true
    }

    fn place(&mut self, id: u128) -> usize {
        if self
            .places
            .get(self.recent)
            .is_some_and(|trace| trace.id == id)
        {
            return self.recent;
        }
        let at = *self.by_id.entry(id).or_insert_with(|| {
            let trace = Trace {
                id,
                ..Trace::default()
            };
            match self.free.pop() {
                Some(at) => {
                    self.places[at] = trace;
                    at
                }
                None => {
                    self.places.push(trace);
                    self.places.len() - 1
                }
            }
        });
        self.recent = at;
        at
    }

    /// Calls `decide` with every trace that is due; what it leaves waiting is looked at again at the trace's `due_ns`.
    pub fn decide_due(&mut self, now_ns: u64, decide: &mut impl FnMut(&mut Trace)) {
        let mut open = std::mem::take(&mut self.open);
        open.retain(|at| self.places[*at].due_ns > now_ns || self.decide(*at, decide));
        self.open = open;
    }

    /// Decides one trace; true where some of it stays waiting.
    fn decide(&mut self, at: usize, decide: &mut impl FnMut(&mut Trace)) -> bool {
        let trace = &mut self.places[at];
        let before = trace.waiting;
        decide(trace);
        self.waiting -= before - trace.waiting;
        if trace.waiting == 0 {
            self.tickets += 1;
            trace.is_open = false;
            trace.ticket = self.tickets;
            self.settled.push_back((at, self.tickets));
        }
        trace.is_open
    }

    /// Forgets settled traces that nothing came for since `before_ns`.
    pub fn forget_idle(&mut self, before_ns: u64) {
        while let Some((at, ticket)) = self.settled.front().copied() {
            let trace = &self.places[at];
            let current = trace.ticket == ticket && !trace.is_open;
            if current && trace.last_arrival_ns > before_ns {
                return;
            }
            self.settled.pop_front();
            if current {
                self.forget(at);
            }
        }
    }

    /// Forgets the longest settled trace; false where there is none.
    pub fn forget_oldest(&mut self) -> bool {
        while let Some((at, ticket)) = self.settled.pop_front() {
            if self.places[at].ticket == ticket && !self.places[at].is_open {
                self.forget(at);
                return true;
            }
        }
        false
    }

    /// Decides the traces idle for longest, until those decided hold `records` records.
    pub fn decide_oldest(&mut self, records: usize, decide: &mut impl FnMut(&mut Trace)) {
        let mut open = std::mem::take(&mut self.open);
        open.sort_unstable_by_key(|at| std::cmp::Reverse(self.places[*at].last_arrival_ns));
        let mut decided = 0;
        while decided < records {
            let Some(at) = open.pop() else { break };
            decided += self.places[at].records.len();
            self.decide(at, decide);
        }
        self.open = open;
    }

    fn forget(&mut self, at: usize) {
        let trace = std::mem::take(&mut self.places[at]);
        self.records -= trace.records.len();
        self.by_id.remove(&trace.id);
        self.free.push(at);
    }

    /// All label values that are held.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.places.iter().flat_map(|trace| {
            let claimed = trace.claims.iter().filter_map(Claim::symbol);
            trace.slots.iter().copied().chain(claimed)
        })
    }
}
