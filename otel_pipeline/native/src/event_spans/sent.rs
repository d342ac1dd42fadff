//! Which sessions and traces are told by spans that their senders sent.
#![forbid(unsafe_code)]

use super::held::Place;
use super::ids::{session_key, trace_key};
use super::plan::{Plan, raw};
use super::recent::Recent;
use crate::aggregate::extract::trace_number;
use crate::aggregate::keys::Seen;
use crate::aggregate::select::{Candidate, Mask, members};
use crate::otlp::{RESOURCE_ATTRIBUTES, attributes, child, for_each_item, span};

/// By hash of sender with trace or session.
#[derive(Default)]
pub struct Sent(Recent<()>);

impl Sent {
    /// Notes the spans of a checked request.
    pub fn update(&mut self, plan: &mut Plan, request: &[u8], now_ns: u64) {
        let (mut senders, mut last): (Mask, _) = (0, [0u64; 2]);
        let mut around = Seen::default();
        for_each_item(request, |context, item| {
            if context.new_scope {
                plan.senders.enter(context);
                senders = plan.senders.select(&Candidate {
                    name: b"",
                    kind: 0,
                    status: 0,
                    item: &[],
                    seen: &Seen::default(),
                });
                around = watched(plan, attributes(context.resource, RESOURCE_ATTRIBUTES));
            }
            if senders != 0 {
                self.span(plan, senders, &around, item, &mut last, now_ns);
            }
        });
    }

    /// `last` are the keys that were noted last: mostly the next span's, too.
    fn span(
        &mut self,
        plan: &Plan,
        senders: Mask,
        around: &Seen<'_>,
        item: &[u8],
        last: &mut [u64; 2],
        now_ns: u64,
    ) {
        let seen = watched(plan, attributes(item, span::ATTRIBUTES));
        if seen.get(plan.mark).is_some() {
            return;
        }
        let trace_id = trace_number(child(item, span::TRACE_ID));
        for sender in members(senders) {
            let sender = sender as u32;
            let trace = trace_id.map_or(0, |trace_id| trace_key(sender, trace_id));
            self.note(trace, &mut last[0], now_ns);
            for number in &plan.span_sessions {
                if let Some(id) = raw(&seen, *number).or_else(|| raw(around, *number)) {
                    self.note(session_key(sender, id), &mut last[1], now_ns);
                }
            }
        }
    }

    fn note(&mut self, key: u64, last: &mut u64, now_ns: u64) {
        if key != 0 && key != *last {
            self.0.entry(key, now_ns);
            *last = key;
        }
    }

    /// Whether spans tell the work of a record; that uses what is known of them.
    pub fn tells(&mut self, place: Place, now_ns: u64) -> bool {
        let by_trace = self.0.get(place.trace, now_ns).is_some();
        let by_session = self.0.get(place.session, now_ns).is_some();
        by_trace || by_session && (place.is_sampled || place.trace_id.is_none())
    }

    /// Forgets what was not used since `before_ns`, and more than two for each of `max_sessions`; how many of the latter.
    pub fn forget(&mut self, before_ns: u64, max_sessions: usize) -> u64 {
        let most = max_sessions.saturating_mul(2);
        let forgotten = std::iter::from_fn(|| self.0.forget(before_ns, most));
        forgotten.filter(|(_, is_early)| *is_early).count() as u64
    }
}

fn watched<'a>(plan: &Plan, list: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Seen<'a> {
    let asked = |key| plan.span_keys.find(key).and_then(|one| one.watched);
    Seen(
        list.filter_map(|(key, value)| Some((asked(key)?, value)))
            .collect(),
    )
}
