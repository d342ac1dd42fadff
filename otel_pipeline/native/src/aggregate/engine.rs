//! The span aggregator itself: from a request of spans to a request of data points.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::decide::{Decided, Decider, Rules};
use super::encode::Encoder;
use super::extract::{Extractor, Head, Slots, span_number, trace_number};
use super::intern::{ABSENT, Interner, Symbol};
use super::plan::{LateBinding, MAX_EXEMPLAR_ATTRIBUTES, Plan, Source};
use super::series::{Family, Observation};
use super::traces::{Record, State, Traces};
use crate::otlp::for_each_item;

/// What happened to spans, counted since the start.
#[derive(Default)]
struct Counts {
    spans: u64,
    duplicates: u64,
    invalid_ids: u64,
    invalid_durations: u64,
    decided_early: u64,
    late_parents: u64,
}

impl Counts {
    fn left_out(&self) -> u64 {
        self.duplicates + self.invalid_ids
    }
}

/// The metrics and what all of them share.
struct Metrics {
    families: Vec<Family>,
    exemplar_names: Vec<String>,
    exemplar_slots: Vec<usize>,
    /// A series that is born now held nothing at this time, the last flush.
    start_unix_ns: u64,
}

/// The trace buffer, where the plan has late binding.
struct Late {
    traces: Traces,
    decider: Decider,
    rules: Rules,
    outcome: usize,
    failure: Symbol,
    max_spans: usize,
}

pub struct Engine {
    interner: Interner,
    extractor: Extractor,
    metrics: Metrics,
    late: Option<Late>,
    counts: Counts,
    series_expiration_ns: u64,
}

impl Engine {
    pub fn new(plan: Plan, start_unix_ns: u64) -> Self {
        let (mut slots, mut interner) = (Slots::default(), Interner::default());
        let limit = plan.cardinality_limit;
        let families: Vec<Family> = plan
            .metrics
            .into_iter()
            .map(|metric| Family::new(metric, limit, &mut slots, &mut interner))
            .collect();
        let exemplar_slots = plan
            .exemplar_attributes
            .iter()
            .map(|label| slots.label(&label.from))
            .collect();
        let late_plan = plan.late_binding;
        let late = late_plan
            .as_ref()
            .map(|late| Late::new(late, &families, &mut slots, &mut interner));
        let extractor = Extractor::new(&slots, late_plan.as_ref(), &mut interner);
        interner.pin();
        Self {
            interner,
            extractor,
            metrics: Metrics {
                families,
                exemplar_names: plan
                    .exemplar_attributes
                    .into_iter()
                    .map(|label| label.name)
                    .collect(),
                exemplar_slots,
                start_unix_ns,
            },
            late,
            counts: Counts::default(),
            series_expiration_ns: plan.series_expiration_ns,
        }
    }

    /// Takes in the spans of a checked traces request and returns how many of them it left out: known already, or
    /// without valid ids. `now_ns` is of the monotonic clock.
    pub fn update(&mut self, request: &[u8], now_ns: u64) -> u64 {
        self.forget_texts();
        let before = self.counts.left_out();
        for_each_item(request, |context, item| {
            let head = self.extractor.read(&mut self.interner, context, item);
            let slots = self.extractor.slots();
            self.counts.spans += 1;
            let is_new = match &mut self.late {
                None => self.metrics.count_now(slots, &head, now_ns),
                Some(late) => late.add(slots, &head, now_ns, &mut self.counts, &mut self.metrics),
            };
            self.counts.invalid_durations += u64::from(is_new && head.duration_ns().is_none());
        });
        self.counts.left_out() - before
    }

    /// Decides what is due and returns the series that changed: a metrics request and its number of data points.
    /// `now_ns` is of the monotonic clock, for waiting; `unix_ns` stands in the points.
    pub fn flush(&mut self, now_ns: u64, unix_ns: u64) -> (Vec<u8>, u64) {
        if let Some(late) = &mut self.late {
            late.decide(now_ns, false, &mut self.counts, &mut self.metrics);
            if let Some(before_ns) = now_ns.checked_sub(late.rules.max_wait_ns) {
                late.traces.forget_idle(before_ns);
            }
        }
        self.take_changed(now_ns, unix_ns)
    }

    /// As `flush`, but decides every span without waiting: for the end.
    pub fn flush_all(&mut self, now_ns: u64, unix_ns: u64) -> (Vec<u8>, u64) {
        if let Some(late) = &mut self.late {
            late.decide(now_ns, true, &mut self.counts, &mut self.metrics);
        }
        self.take_changed(now_ns, unix_ns)
    }

    fn take_changed(&mut self, now_ns: u64, unix_ns: u64) -> (Vec<u8>, u64) {
        let metrics = &mut self.metrics;
        let changed: Vec<_> = metrics
            .families
            .iter_mut()
            .map(Family::take_changed)
            .collect();
        let encoder = Encoder {
            interner: &self.interner,
            exemplar_names: &metrics.exemplar_names,
            unix_ns,
        };
        let request = encoder.request(&metrics.families, &changed);
        metrics.start_unix_ns = metrics.start_unix_ns.max(unix_ns);
        let expired = now_ns.checked_sub(self.series_expiration_ns);
        if let Some(before_ns) = expired.filter(|_| self.series_expiration_ns > 0) {
            metrics
                .families
                .iter_mut()
                .for_each(|family| family.expire(before_ns));
        }
        request
    }

    /// Lets go of label values that nothing refers to any more.
    fn forget_texts(&mut self) {
        if self.interner.is_full() {
            self.interner.sweep(|live| {
                self.metrics
                    .families
                    .iter()
                    .for_each(|family| family.mark(live));
                self.late
                    .iter()
                    .flat_map(|late| late.traces.symbols())
                    .for_each(live);
            });
        }
    }

    /// Spans that are not counted yet.
    pub fn waiting(&self) -> u64 {
        self.late
            .as_ref()
            .map_or(0, |late| late.traces.waiting as u64)
    }

    /// All counts by name, since the start; `series`, `waiting` and `buffered` are what there is now.
    pub fn stats(&self) -> BTreeMap<&'static str, u64> {
        let traces = self.late.as_ref().map(|late| &late.traces);
        let families = &self.metrics.families;
        BTreeMap::from([
            ("spans", self.counts.spans),
            ("duplicates", self.counts.duplicates),
            ("invalid_ids", self.counts.invalid_ids),
            ("invalid_durations", self.counts.invalid_durations),
            ("decided_early", self.counts.decided_early),
            ("late_parents", self.counts.late_parents),
            (
                "overflowed",
                families.iter().map(|family| family.overflowed).sum(),
            ),
            (
                "series",
                families
                    .iter()
                    .map(|family| family.series.len() as u64)
                    .sum(),
            ),
            ("waiting", self.waiting()),
            ("buffered", traces.map_or(0, |traces| traces.records as u64)),
        ])
    }
}

impl Metrics {
    /// Counts a span as it stands; always true, as nothing is known of spans before.
    fn count_now(&mut self, slots: &[Symbol], head: &Head<'_>, now_ns: u64) -> bool {
        let duration_ns = head.duration_ns().unwrap_or(0);
        let seen = Observation {
            duration_ns,
            trace_id: trace_number(head.trace_id).unwrap_or(0),
            span_id: span_number(head.span_id).unwrap_or(0),
            time_ns: head.begin_ns().saturating_add(duration_ns),
            attributes: self.exemplar_attributes(slots),
        };
        self.record(Source::All, slots, &seen, now_ns);
        true
    }

    fn count_decided(&mut self, decided: &Decided<'_>, now_ns: u64) {
        let record = decided.record;
        let seen = Observation {
            duration_ns: record.duration_ns,
            trace_id: decided.trace_id,
            span_id: record.span_id,
            time_ns: record.start_ns.saturating_add(record.duration_ns),
            attributes: self.exemplar_attributes(decided.labels),
        };
        let source = if decided.is_run {
            Source::StageRuns
        } else {
            Source::Spans
        };
        if !decided.is_noise {
            self.record(source, decided.labels, &seen, now_ns);
        }
        if decided.is_error {
            self.record(Source::Errors, decided.labels, &seen, now_ns);
        }
    }

    fn exemplar_attributes(&self, slots: &[Symbol]) -> [Symbol; MAX_EXEMPLAR_ATTRIBUTES] {
        let mut attributes = [ABSENT; MAX_EXEMPLAR_ATTRIBUTES];
        for (attribute, slot) in attributes.iter_mut().zip(&self.exemplar_slots) {
            *attribute = slots[*slot];
        }
        attributes
    }

    fn record(&mut self, source: Source, slots: &[Symbol], seen: &Observation, now_ns: u64) {
        for family in self
            .families
            .iter_mut()
            .filter(|family| family.counts(source))
        {
            family.record(slots, seen, now_ns, self.start_unix_ns);
        }
    }
}

impl Late {
    fn new(
        plan: &LateBinding,
        families: &[Family],
        slots: &mut Slots,
        interner: &mut Interner,
    ) -> Self {
        let stage = slots.attribute(&plan.stage);
        let inherited: Vec<usize> = plan
            .inherited
            .iter()
            .map(|key| slots.attribute(key))
            .collect();
        let is_shown = |slot: &usize| {
            *slot == stage
                || families
                    .iter()
                    .any(|family| family.slots().any(|shown| shown == *slot))
        };
        let awaited = inherited.iter().copied().filter(is_shown).collect();
        let (model, outcome) = (slots.attribute(&plan.model), slots.attribute(&plan.outcome));
        let stage_run = slots.attribute(&plan.stage_run);
        let noise = slots.attribute(&plan.noise);
        Self {
            traces: Traces::default(),
            decider: Decider::default(),
            rules: Rules {
                stride: slots.0.len(),
                stage,
                model,
                stage_run,
                noise,
                run: interner.intern("true"),
                no_run: interner.intern("false"),
                inherited,
                awaited,
                decision_wait_ns: plan.decision_wait_ns,
                max_wait_ns: plan.max_wait_ns.max(plan.decision_wait_ns),
            },
            outcome,
            failure: interner.intern(&plan.failure),
            max_spans: plan.max_spans.max(1),
        }
    }

    /// Takes a span in; false where it is known already or has no valid ids.
    fn add(
        &mut self,
        slots: &[Symbol],
        head: &Head<'_>,
        now_ns: u64,
        counts: &mut Counts,
        metrics: &mut Metrics,
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
            state: State::Waiting,
        };
        let due_ns = now_ns.saturating_add(self.rules.decision_wait_ns);
        if !self.traces.add(trace_id, record, slots, due_ns) {
            counts.duplicates += 1;
            return false;
        }
        if self.traces.records > self.max_spans {
            self.make_room(now_ns, counts, metrics);
        }
        true
    }

    /// Decides the traces that are due, or all, and counts their spans.
    fn decide(&mut self, now_ns: u64, all: bool, counts: &mut Counts, metrics: &mut Metrics) {
        let (decider, rules) = (&mut self.decider, &self.rules);
        let until_ns = if all { u64::MAX } else { now_ns };
        self.traces.decide_due(until_ns, &mut |trace| {
            decider.decide(trace, rules, now_ns, all, |decided| {
                counts.late_parents += u64::from(decided.is_late);
                metrics.count_decided(&decided, now_ns);
            });
        });
    }

    /// Forgets the oldest traces that are through; where none is, decides the tenth that is idle for longest.
    fn make_room(&mut self, now_ns: u64, counts: &mut Counts, metrics: &mut Metrics) {
        let (decider, rules) = (&mut self.decider, &self.rules);
        while self.traces.records > self.max_spans {
            if self.traces.forget_oldest() {
                continue;
            }
            self.traces
                .decide_oldest(self.max_spans.div_ceil(10), &mut |trace| {
                    decider.decide(trace, rules, now_ns, true, |decided| {
                        counts.decided_early += 1;
                        metrics.count_decided(&decided, now_ns);
                    });
                });
        }
    }
}
