//! The aggregator itself: from requests of spans, log records and data points to a request of data points.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::claims::{Claim, Claims};
use super::events::{EVENT_NAME, Event};
use super::extract::{Extractor, Head, span_number, trace_number};
use super::intern::Interner;
use super::keys::{Keys, Lists};
use super::late::{Counts, Late, Tables};
use super::metrics::{Counted, Metrics};
use super::plan::{DerivationPlan, Item, MetricPlan, Plan};
use super::points::Points;
use super::rows::TextRow;
use super::select::Candidate;
use super::series::{Family, Observation};
use super::slots::Slots;
use super::table::{Faults, Shared, Table};
use super::usage::account::{self, Account};
use crate::otlp::{Context, for_each_item};

pub struct Engine {
    metrics: Metrics,
    tables: Tables,
    spans: Extractor,
    events: Extractor,
    /// The number of `EVENT_NAME` among the watched keys of log records.
    event_name: u32,
    points: Points,
    late: Option<Late>,
    counts: Counts,
    faults: Faults,
    claims: Vec<Claim>,
}

impl Engine {
    /// The error says what is wrong with the plan.
    pub fn new(mut plan: Plan, start_unix_ns: u64) -> Result<Self, String> {
        let (mut slots, mut interner) = (Slots::new(&plan), Interner::default());
        let wholes: Vec<bool> = plan.metrics.iter().map(MetricPlan::counts_ones).collect();
        let mut shared = Shared {
            slots: &mut slots,
            interner: &mut interner,
        };
        let mut table = |item| {
            let mut keys = Keys::default();
            let derivations = take_derivations(&mut plan.metrics, item);
            let table = Table::new(derivations, &plan.metrics, &mut keys, &mut shared)?;
            Ok::<_, String>((table, keys))
        };
        let (spans, mut span_keys) = table(Some(Item::Span))?;
        let (events, mut event_keys) = table(Some(Item::Event))?;
        let (points, mut point_keys) = table(Some(Item::Point))?;
        let (usage_table, _) = table(None)?;
        let event_name = event_keys.watch(EVENT_NAME);
        let tables = Tables::new(spans, events);
        let late_plan = plan.late_binding.as_ref();
        let usage = match plan.usage.take().zip(late_plan) {
            Some((usage, late)) => {
                let keys = [&mut span_keys, &mut event_keys, &mut point_keys];
                Some(Account::new(usage, late, usage_table, keys, &mut shared)?)
            }
            None => None,
        };
        let extractor =
            |keys, interner: &mut Interner| Extractor::new(keys, &slots, late_plan, interner);
        let spans = extractor(span_keys, &mut interner);
        let events = extractor(event_keys, &mut interner);
        let points = Points::new(points, extractor(point_keys, &mut interner), start_unix_ns);
        let exemplar_slots = plan.exemplar_attributes.iter();
        let exemplar_slots = exemplar_slots.filter_map(|label| slots.of_label(&label.from));
        let exemplar_slots = exemplar_slots.collect();
        let families = plan
            .metrics
            .into_iter()
            .zip(wholes)
            .map(|(metric, is_whole)| {
                Family::new(metric, is_whole, plan.cardinality_limit, &mut interner)
            });
        let families = families.collect::<Result<_, _>>()?;
        let mut metrics = Metrics {
            interner,
            families,
            exemplar_names: plan
                .exemplar_attributes
                .into_iter()
                .map(|label| label.name)
                .collect(),
            exemplar_slots,
            start_unix_ns,
            series_expiration_ns: plan.series_expiration_ns,
            constants_due_ns: 0,
            usage,
        };
        let late = plan.late_binding.as_ref();
        let late = late.map(|late| Late::new(late, &tables, &mut slots, &mut metrics));
        metrics.interner.pin();
        Ok(Self {
            metrics,
            tables,
            spans,
            events,
            event_name,
            points,
            late,
            counts: Counts::default(),
            faults: Faults::default(),
            claims: Vec::new(),
        })
    }

    /// Takes in the spans of a checked traces request and returns how many of them it left out: known already, or
    /// without valid ids. `now_ns` is of the monotonic clock.
    pub fn update_traces(&mut self, request: &[u8], now_ns: u64) -> u64 {
        self.make_room(now_ns);
        let before = self.counts.duplicates + self.counts.invalid_ids;
        let mut lists = Lists::default();
        for_each_item(request, |context, item| {
            self.span(context, item, &mut lists, now_ns)
        });
        self.counts.duplicates + self.counts.invalid_ids - before
    }

    #[inline]
    fn span<'a>(
        &mut self,
        context: &Context<'a>,
        item: &'a [u8],
        lists: &mut Lists<'a>,
        now_ns: u64,
    ) {
        let (interner, table) = (&mut self.metrics.interner, &mut self.tables.spans);
        table.enter(&mut self.spans, interner, context, lists);
        let head = self.spans.span(interner, lists, item);
        let slots = self.spans.slots();
        let candidate = Candidate {
            name: head.name,
            kind: head.kind,
            status: head.status,
            item,
            seen: &lists.item,
        };
        let (claims, faults) = (&mut self.claims, &mut self.faults);
        table.claim(&candidate, lists, slots, interner, claims, faults);
        let time_ns = head.begin_ns();
        if let Some(usage) = &mut self.metrics.usage {
            usage.announce_span(&candidate, lists, context, time_ns, claims, now_ns);
        }
        self.counts.spans += 1;
        let is_new = match &mut self.late {
            None => self.count_span(&head, now_ns),
            Some(late) => {
                let is_new = late.add_span(&head, slots, claims, now_ns, &mut self.counts);
                if let (Some(usage), false) = (&mut self.metrics.usage, is_new) {
                    usage.withdraw(Claims(claims));
                }
                late.make_room(now_ns, &self.tables, &mut self.counts, &mut self.metrics);
                is_new
            }
        };
        self.counts.invalid_durations += u64::from(is_new && head.duration_ns().is_none());
    }

    /// Counts the span that was read last as it stands; always true, as nothing is known of spans before.
    fn count_span(&mut self, head: &Head<'_>, now_ns: u64) -> bool {
        let (slots, claims) = (self.spans.slots(), Claims(&self.claims));
        let duration_ns = head.duration_ns().unwrap_or(0);
        let item = Counted {
            slots,
            claims,
            siblings: &[],
            duration_ns,
            seen: Observation {
                trace_id: trace_number(head.trace_id).unwrap_or(0),
                span_id: span_number(head.span_id).unwrap_or(0),
                time_ns: head.begin_ns().saturating_add(duration_ns),
                attributes: self.metrics.exemplar_attributes(slots),
            },
        };
        let table = &self.tables.spans;
        let counting = table.counting(self.tables.on_arrival, slots, claims);
        self.metrics.record(table, counting, &item, now_ns);
        true
    }

    /// Takes in the log records of a checked logs request and returns how many of them it left out: known already.
    pub fn update_logs(&mut self, request: &[u8], now_ns: u64) -> u64 {
        let usage = self.metrics.usage.as_ref();
        if self.tables.events.is_empty() && usage.is_none_or(|usage| usage.events.is_empty()) {
            return 0;
        }
        self.make_room(now_ns);
        let before = self.counts.repeated_events;
        let mut lists = Lists::default();
        for_each_item(request, |context, item| {
            self.event(context, item, &mut lists, now_ns)
        });
        self.counts.repeated_events - before
    }

    /// A log record of a span waits below it; any other is counted as it stands.
    fn event<'a>(
        &mut self,
        context: &Context<'a>,
        item: &'a [u8],
        lists: &mut Lists<'a>,
        now_ns: u64,
    ) {
        let (interner, table) = (&mut self.metrics.interner, &mut self.tables.events);
        table.enter(&mut self.events, interner, context, lists);
        let event = Event::read(&mut self.events, interner, lists, self.event_name, item);
        let slots = self.events.slots();
        let candidate = Candidate {
            name: event.name.as_bytes(),
            kind: 0,
            status: 0,
            item: &[],
            seen: &lists.item,
        };
        let (claims, faults) = (&mut self.claims, &mut self.faults);
        let possible = table.claim(&candidate, lists, slots, interner, claims, faults);
        if let Some(usage) = &mut self.metrics.usage {
            let told = (event.time_ns, || event.content_number());
            usage.announce_event(&candidate, lists, context, told, claims, now_ns);
        }
        if possible == 0 && claims.is_empty() {
            return;
        }
        self.counts.events += 1;
        match (&mut self.late, event.ids()) {
            (Some(late), Some(ids)) => {
                let is_new = late.add_event(ids, &event, slots, claims, now_ns, &mut self.counts);
                if let (Some(usage), false) = (&mut self.metrics.usage, is_new) {
                    usage.withdraw(Claims(claims));
                }
                late.make_room(now_ns, &self.tables, &mut self.counts, &mut self.metrics);
            }
            (_, ids) => self.count_event(&event, ids, now_ns),
        }
    }

    fn count_event(&mut self, event: &Event<'_>, ids: Option<(u128, u64)>, now_ns: u64) {
        let (slots, claims) = (self.events.slots(), Claims(&self.claims));
        if let (Some(usage), Some(handle)) = (&mut self.metrics.usage, claims.usage()) {
            usage.add(handle, slots, now_ns);
        }
        let (trace_id, span_id) = ids.unwrap_or((0, 0));
        let item = Counted {
            slots,
            claims,
            siblings: &[],
            duration_ns: 0,
            seen: Observation {
                trace_id,
                span_id,
                time_ns: event.time_ns,
                attributes: self.metrics.exemplar_attributes(slots),
            },
        };
        let table = &self.tables.events;
        let counting = table.counting(self.tables.of_events, slots, claims);
        self.metrics.record(table, counting, &item, now_ns);
    }

    /// Takes in the data points of a checked metrics request. Gives the request without those that are not to be passed
    /// on, and how many these are; None where all are.
    pub fn update_metrics(&mut self, request: &[u8], now_ns: u64) -> Option<(Vec<u8>, u64)> {
        self.make_room(now_ns);
        self.points
            .update(request, &mut self.metrics, &mut self.faults, now_ns)
    }

    /// Decides what is due and returns the series that changed: a metrics request and its number of data points.
    /// `now_ns` is of the monotonic clock, for waiting; `unix_ns` stands in the points.
    pub fn flush(&mut self, now_ns: u64, unix_ns: u64) -> (Vec<u8>, u64) {
        self.decide(now_ns, false);
        self.metrics.take_changed(now_ns, unix_ns)
    }

    /// As `flush`, but decides everything without waiting: for the end.
    pub fn flush_all(&mut self, now_ns: u64, unix_ns: u64) -> (Vec<u8>, u64) {
        self.decide(now_ns, true);
        self.metrics.take_changed(now_ns, unix_ns)
    }

    /// Decides what is due, or everything, and returns each observation of the plans that ask for rows, since the last
    /// call.
    pub fn take_rows(&mut self, now_ns: u64, everything: bool) -> BTreeMap<String, Vec<TextRow>> {
        self.decide(now_ns, everything);
        self.metrics.take_rows()
    }

    fn decide(&mut self, now_ns: u64, everything: bool) {
        if let Some(late) = &mut self.late {
            let (counts, metrics) = (&mut self.counts, &mut self.metrics);
            late.decide(now_ns, everything, &self.tables, counts, metrics);
            if let Some(before_ns) = now_ns.checked_sub(late.rules.max_wait_ns) {
                late.traces.forget_idle(before_ns);
            }
        }
        self.points.expire(&mut self.metrics, now_ns);
        self.metrics.settle_usage(now_ns, everything);
    }

    /// Counts usage early where too much waits, and lets go of label values that nothing refers to any more.
    fn make_room(&mut self, now_ns: u64) {
        if self.metrics.usage.as_ref().is_some_and(Account::is_full) {
            self.metrics.settle_usage(now_ns, false);
        }
        if self.metrics.interner.is_full() {
            let waiting = self.late.iter().flat_map(|late| late.traces.symbols());
            let streams = self.points.streams.symbols();
            self.metrics.forget_texts(waiting.chain(streams));
        }
    }

    /// Spans that are not counted yet.
    pub fn waiting(&self) -> u64 {
        let waiting = |late: &Late| late.traces.waiting as u64 - late.waiting_events;
        self.late.as_ref().map_or(0, waiting)
    }

    /// Log records that are not counted yet.
    pub fn waiting_events(&self) -> u64 {
        self.late.as_ref().map_or(0, |late| late.waiting_events)
    }

    /// All counts by name, since the start; `series`, `waiting` and `buffered` are what there is now.
    pub fn stats(&self) -> BTreeMap<&'static str, u64> {
        let buffered = self.late.as_ref().map_or(0, |late| late.traces.records);
        let (counts, families) = (&self.counts, &self.metrics.families);
        let total = |of: fn(&Family) -> u64| families.iter().map(of).sum::<u64>();
        let mut stats = BTreeMap::from([
            ("spans", counts.spans),
            ("duplicates", counts.duplicates),
            ("invalid_ids", counts.invalid_ids),
            ("invalid_durations", counts.invalid_durations),
            ("decided_early", counts.decided_early),
            ("late_parents", counts.late_parents),
            ("events", counts.events),
            ("repeated_events", counts.repeated_events),
            ("points", self.points.counted),
            ("repeated_points", self.points.repeated),
            ("unsupported_points", self.points.unsupported),
            ("streams_met_running", self.points.streams.met_running),
            (
                "invalid_values",
                self.faults.no_number + total(|family| family.refused),
            ),
            ("claims_left_out", self.faults.left_out),
            ("overflowed", total(|family| family.overflowed)),
            ("series", total(|family| family.series.len() as u64)),
            ("streams", self.points.streams.len() as u64),
            ("waiting", self.waiting()),
            ("waiting_events", self.waiting_events()),
            ("buffered", buffered as u64),
        ]);
        stats.extend(account::stats(self.metrics.usage.as_ref()));
        stats
    }

    /// Model requests whose cost nobody told and the price list does not have, by model.
    pub fn missing_prices(&self) -> BTreeMap<String, u64> {
        let usage = self.metrics.usage.as_ref();
        usage.map_or_else(BTreeMap::new, |usage| usage.missing_prices().clone())
    }
}

/// Takes the derivations from `item` out of their metrics, each with its metric's position.
fn take_derivations(
    metrics: &mut [MetricPlan],
    item: Option<Item>,
) -> Vec<(usize, DerivationPlan)> {
    let mut taken = Vec::new();
    for (family, metric) in metrics.iter_mut().enumerate() {
        let all = std::mem::take(&mut metric.derivations);
        let (own, others) = all.into_iter().partition(|one| one.source.item() == item);
        metric.derivations = others;
        let own: Vec<_> = own;
        taken.extend(own.into_iter().map(|one| (family, one)));
    }
    taken
}
