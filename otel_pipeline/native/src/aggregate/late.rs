//! Spans and log records that wait until the rest of their trace is known, and are then counted.
#![forbid(unsafe_code)]

use super::claims::{Claim, Claims};
use super::decide::{Decided, Decider, Rules};
use super::events::Event;
use super::extract::{Head, span_number, trace_number};
use super::intern::{ABSENT, Symbol};
use super::metrics::{Counted, Metrics};
use super::plan::{LateBinding, Source};
use super::select::Mask;
use super::series::Observation;
use super::slots::Slots;
use super::table::Table;
use super::traces::{Record, State, Traces};

/// What happened to items, counted since the start.
#[derive(Default)]
pub struct Counts {
    pub spans: u64,
    pub duplicates: u64,
    pub invalid_ids: u64,
    pub invalid_durations: u64,
    pub decided_early: u64,
    pub late_parents: u64,
    pub events: u64,
    pub repeated_events: u64,
}

/// The tables of what waits.
pub struct Tables {
    pub spans: Table,
    pub events: Table,
    runs: Mask,
    others: Mask,
    /// Who selects it wants it.
    noise: Mask,
    errors: Mask,
    pub on_arrival: Mask,
    pub of_events: Mask,
}

impl Tables {
    pub fn new(spans: Table, events: Table) -> Self {
        Self {
            runs: spans.of(&[Source::StageRuns, Source::AllSpans]),
            others: spans.of(&[Source::Spans, Source::AllSpans]),
            noise: spans.of(&[Source::AllSpans]) & spans.selecting(),
            errors: spans.of(&[Source::Errors]),
            on_arrival: spans.of(&[Source::All]),
            of_events: events.of(&[Source::Events]),
            spans,
            events,
        }
    }

    /// Whether an item that waits lacks something that a derivation asks for which it may be for.
    fn lack_of_labels(
        &self,
        awaited: &[Awaited],
    ) -> impl Fn(&Record, &[Symbol], Claims<'_>) -> bool {
        |record, labels, claims| {
            let mut asking = 0;
            for absent in awaited.iter().filter(|one| labels[one.slot] == ABSENT) {
                if absent.always || absent.usage && claims.usage().is_some() {
                    return true;
                }
                asking |= match record.is_event {
                    true => absent.events,
                    false => absent.spans,
                };
            }
            let table = match record.is_event {
                true => &self.events,
                false => &self.spans,
            };
            asking != 0 && asking & table.possible(claims.selected(), labels) != 0
        }
    }

    fn count(&self, decided: &Decided<'_>, now_ns: u64, metrics: &mut Metrics) {
        let record = decided.record;
        let (table, sources) = match decided {
            _ if record.is_event => (&self.events, self.of_events),
            Decided { is_noise: true, .. } => (&self.spans, self.noise),
            Decided { is_run: true, .. } => (&self.spans, self.runs),
            _ => (&self.spans, self.others),
        };
        let errors = if decided.is_error { self.errors } else { 0 };
        if let (Some(usage), Some(handle)) = (&mut metrics.usage, decided.claims.usage()) {
            usage.add(handle, decided.labels, now_ns);
        }
        let counting = table.counting(sources | errors, decided.labels, decided.claims);
        let item = Counted {
            slots: decided.labels,
            claims: decided.claims,
            siblings: &[],
            duration_ns: record.duration_ns,
            seen: Observation {
                trace_id: decided.trace_id,
                span_id: if record.is_event {
                    record.parent_id
                } else {
                    record.span_id
                },
                time_ns: record.start_ns.saturating_add(record.duration_ns),
                attributes: metrics.exemplar_attributes(decided.labels),
            },
        };
        metrics.record(table, counting, &item, now_ns);
    }
}

/// An inherited slot, and who asks for what is in it.
struct Awaited {
    slot: usize,
    always: bool,
    /// Derivations from spans and from log records.
    spans: Mask,
    events: Mask,
    usage: bool,
}

/// The trace buffer, where the plan has late binding.
pub struct Late {
    pub traces: Traces,
    /// How many of those that wait are log records.
    pub waiting_events: u64,
    decider: Decider,
    awaited: Vec<Awaited>,
    pub rules: Rules,
    outcome: usize,
    failure: Symbol,
    max_spans: usize,
}

impl Late {
    pub fn new(
        plan: &LateBinding,
        tables: &Tables,
        slots: &mut Slots,
        metrics: &mut Metrics,
    ) -> Self {
        let stage = slots.attribute(&plan.stage);
        let inherited: Vec<usize> = plan
            .inherited
            .iter()
            .map(|key| slots.attribute(key))
            .collect();
        let usage = metrics.usage.as_ref().map(|usage| &usage.table);
        let awaited = inherited.iter().map(|slot| Awaited {
            slot: *slot,
            always: *slot == stage,
            spans: tables.spans.asking(*slot),
            events: tables.events.asking(*slot),
            usage: usage.is_some_and(|table| table.asking(*slot) != 0),
        });
        let awaited = awaited.collect();
        let (model, outcome) = (slots.attribute(&plan.model), slots.attribute(&plan.outcome));
        let stage_run = slots.attribute(&plan.stage_run);
        let noise = slots.attribute(&plan.noise);
        Self {
            traces: Traces::default(),
            waiting_events: 0,
            decider: Decider::default(),
            awaited,
            rules: Rules {
                stride: slots.0.len(),
                stage,
                model,
                stage_run,
                noise,
                run: metrics.interner.intern("true"),
                no_run: metrics.interner.intern("false"),
                inherited,
                decision_wait_ns: plan.decision_wait_ns,
                max_wait_ns: plan.max_wait_ns.max(plan.decision_wait_ns),
            },
            outcome,
            failure: metrics.interner.intern(&plan.failure),
            max_spans: plan.max_spans.max(1),
        }
    }

    /// Takes a span in; false where it is known already or has no valid ids.
    #[inline]
    pub fn add_span(
        &mut self,
        head: &Head<'_>,
        slots: &[Symbol],
        claims: &[Claim],
        now_ns: u64,
        counts: &mut Counts,
    ) -> bool {
        let ids = trace_number(head.trace_id).zip(span_number(head.span_id));
        let Some((trace_id, span_id)) = ids else {
            counts.invalid_ids += 1;
            return false;
        };
        let record = Record {
            span_id,
            parent_id: span_number(head.parent_id).unwrap_or(0),
            start_ns: head.begin_ns(),
            duration_ns: head.duration_ns().unwrap_or(0),
            arrived_ns: now_ns,
            parent_is_local: head.parent_is_local(),
            failed: slots[self.outcome] == self.failure,
            is_event: false,
            state: State::Waiting,
        };
        let is_new = self.add(trace_id, record, slots, claims);
        counts.duplicates += u64::from(!is_new);
        is_new
    }

    /// Takes a log record in, below the span with the ids; false where it is known already.
    pub fn add_event(
        &mut self,
        ids: (u128, u64),
        event: &Event<'_>,
        slots: &[Symbol],
        claims: &[Claim],
        now_ns: u64,
        counts: &mut Counts,
    ) -> bool {
        let (trace_id, span_id) = ids;
        let record = Record {
            span_id: event.content_number(),
            parent_id: span_id,
            start_ns: event.time_ns,
            duration_ns: 0,
            arrived_ns: now_ns,
            parent_is_local: event.is_sampled,
            failed: false,
            is_event: true,
            state: State::Waiting,
        };
        let is_new = self.add(trace_id, record, slots, claims);
        counts.repeated_events += u64::from(!is_new);
        self.waiting_events += u64::from(is_new);
        is_new
    }

    fn add(&mut self, trace_id: u128, record: Record, slots: &[Symbol], claims: &[Claim]) -> bool {
        let due_ns = record
            .arrived_ns
            .saturating_add(self.rules.decision_wait_ns);
        self.traces.add(trace_id, record, slots, claims, due_ns)
    }

    /// Decides the traces that are due, or all, and counts what is in them.
    pub fn decide(
        &mut self,
        now_ns: u64,
        all: bool,
        tables: &Tables,
        counts: &mut Counts,
        metrics: &mut Metrics,
    ) {
        let (decider, rules) = (&mut self.decider, &self.rules);
        let waiting_events = &mut self.waiting_events;
        let lacks_label = tables.lack_of_labels(&self.awaited);
        let until_ns = if all { u64::MAX } else { now_ns };
        self.traces.decide_due(until_ns, &mut |trace| {
            decider.decide(trace, rules, now_ns, all, &lacks_label, |decided| {
                counts.late_parents += u64::from(decided.is_late);
                *waiting_events -= u64::from(decided.record.is_event);
                tables.count(&decided, now_ns, metrics);
            });
        });
    }

    /// Forgets the oldest traces that are through, where there is too much; where none is, decides the tenth that is
    /// idle for longest.
    #[inline]
    pub fn make_room(
        &mut self,
        now_ns: u64,
        tables: &Tables,
        counts: &mut Counts,
        metrics: &mut Metrics,
    ) {
        if self.traces.records > self.max_spans {
            self.shrink(now_ns, tables, counts, metrics);
        }
    }

    fn shrink(&mut self, now_ns: u64, tables: &Tables, counts: &mut Counts, metrics: &mut Metrics) {
        let (decider, rules) = (&mut self.decider, &self.rules);
        let waiting_events = &mut self.waiting_events;
        let lacks_label = tables.lack_of_labels(&self.awaited);
        while self.traces.records > self.max_spans {
            if self.traces.forget_oldest() {
                continue;
            }
            self.traces
                .decide_oldest(self.max_spans.div_ceil(10), &mut |trace| {
                    decider.decide(trace, rules, now_ns, true, &lacks_label, |decided| {
                        counts.decided_early += 1;
                        *waiting_events -= u64::from(decided.record.is_event);
                        tables.count(&decided, now_ns, metrics);
                    });
                });
        }
    }
}
