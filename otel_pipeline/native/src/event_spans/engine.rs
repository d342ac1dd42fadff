//! From log records to the spans that their senders do not send.
//!
//! **Wait.** Every record that stands for work is kept for `wait`. When that is over, it becomes a span, unless its
//! sender was seen to send spans of the same trace or session, now or in the `memory` before: these tell the work
//! themselves. A record that says that its trace is not sampled becomes a span all the same, unless spans of that very
//! trace came.
//!
//! **Trace.** That of the record, else that of its prompt, else one made of sender, session and prompt. A prompt is known
//! by its id, or is the last one of the session that was told before the work ended. Its span lasts from the record
//! that opens it to the end of the last work done for it, and is written when the next prompt of the session has come
//! or nothing was done for `prompt_idle`.
//!
//! **Ids** are made of what the sender said alone, so that a record that comes again makes the same span again.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use super::held::{Around, Draft, Parent, Place, Prompt, Request, Work};
use super::ids::Ids;
use super::plan::Plan;
use super::recent::Recent;
use super::record::Record;
use super::sent::Sent;
use crate::aggregate::hash::Seeded;
use crate::aggregate::keys::Seen;
use crate::aggregate::select::Candidate;
use crate::otlp::{Context, RESOURCE_ATTRIBUTES, attributes, for_each_item};

/// Prompts remembered of one session.
const MAX_PROMPTS: usize = 16;

/// What a session has shown.
#[derive(Default)]
struct Session {
    /// By start.
    prompts: VecDeque<Prompt>,
    /// Spans were made of it.
    is_made: bool,
}

/// Counts since the start; `_native.pyi` tells what they mean.
#[derive(Default)]
struct Counts {
    made: u64,
    left_to_spans: u64,
    invalid_durations: u64,
    without_time: u64,
    without_prompt: u64,
    without_session: u64,
    too_many: u64,
    late_work: u64,
    late_spans: u64,
    decided_early: u64,
    forgotten: u64,
}

pub struct Engine {
    plan: Plan,
    sent: Sent,
    sessions: Recent<Session>,
    work: VecDeque<Work>,
    /// Prompts that are over and not written yet, each with its trace.
    ended: Vec<(Draft, u128)>,
    arounds: HashSet<Arc<Around>, Seeded>,
    held_bytes: usize,
    open_prompts: u64,
    counts: Counts,
}

/// Of the request at hand.
#[derive(Default)]
struct Header<'a> {
    resource: Seen<'a>,
    around: Option<Arc<Around>>,
}

impl Engine {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            sent: Sent::default(),
            sessions: Recent::default(),
            work: VecDeque::new(),
            ended: Vec::new(),
            arounds: HashSet::default(),
            held_bytes: 0,
            open_prompts: 0,
            counts: Counts::default(),
        }
    }

    /// Takes in the log records of a checked request. `now_ns` is of the monotonic clock; `unix_ns` is for records
    /// without a time.
    pub fn update_logs(&mut self, request: &[u8], now_ns: u64, unix_ns: u64) {
        let (mut header, mut seen) = (Header::default(), Seen::default());
        for_each_item(request, |context, item| {
            if context.new_resource {
                header.resource.0.clear();
                for (key, value) in attributes(context.resource, RESOURCE_ATTRIBUTES) {
                    if let Some(number) = self.plan.keys.find(key).and_then(|one| one.watched) {
                        header.resource.0.push((number, value));
                    }
                }
            }
            if context.new_scope {
                header.around = None;
                self.plan.selection.enter(context);
            }
            if self.plan.selection.is_open() {
                self.record(context, &mut header, &mut seen, item, (now_ns, unix_ns));
            }
        });
    }

    fn record<'a>(
        &mut self,
        context: &Context<'a>,
        header: &mut Header<'a>,
        seen: &mut Seen<'a>,
        item: &'a [u8],
        (now_ns, unix_ns): (u64, u64),
    ) {
        let record = Record::read(&self.plan, seen, item);
        let candidate = Candidate {
            name: record.name.as_bytes(),
            kind: 0,
            status: 0,
            item: &[],
            seen,
        };
        let Some(at) = self.plan.selection.holding(&candidate).next() else {
            return;
        };
        if self.held_bytes >= self.plan.limits.max_held_bytes {
            self.counts.too_many += 1;
            return;
        }
        let around = match header.around.take() {
            Some(around) => around,
            None => self.keep(Around::of(context)),
        };
        header.around = Some(Arc::clone(&around));
        let rule = &self.plan.rules[at];
        let ids = Ids::read(rule, seen, &header.resource, &record);
        let end_ns = match record.time_ns {
            0 => unix_ns,
            time_ns => time_ns,
        };
        let duration_ns = rule.duration_ns(seen);
        let start_ns = duration_ns.and_then(|duration_ns| end_ns.checked_sub(duration_ns));
        self.counts.without_time += u64::from(record.time_ns == 0);
        self.counts.invalid_durations += u64::from(start_ns.is_none());
        let draft = Draft {
            around,
            place: ids.place,
            span_id: ids.span_id,
            start_ns: start_ns.unwrap_or(end_ns),
            end_ns,
            body: rule.body(seen),
        };
        match rule.opens_prompt {
            true => self.open(draft, ids, now_ns),
            false => self.wait(draft, ids, now_ns),
        }
    }

    fn wait(&mut self, draft: Draft, ids: Ids, now_ns: u64) {
        self.held_bytes += draft.size();
        self.work.push_back(Work {
            draft,
            arrived_ns: now_ns,
            prompt: ids.prompt,
            own_trace_id: ids.trace_id,
        });
    }

    fn keep(&mut self, around: Around) -> Arc<Around> {
        if let Some(known) = self.arounds.get(&around) {
            return Arc::clone(known);
        }
        self.held_bytes += around.size();
        let around = Arc::new(around);
        self.arounds.insert(Arc::clone(&around));
        around
    }

    /// Begins a prompt, unless it is known.
    fn open(&mut self, draft: Draft, ids: Ids, now_ns: u64) {
        if draft.place.session == 0 {
            self.counts.without_session += 1;
            return;
        }
        let session = self.sessions.entry(draft.place.session, now_ns);
        let key = if ids.prompt == 0 {
            draft.span_id
        } else {
            ids.prompt
        };
        if session.prompts.iter().any(|prompt| prompt.key == key) {
            return;
        }
        let later = |prompt: &Prompt| prompt.start_ns > draft.start_ns;
        let at = session.prompts.iter().position(later);
        self.held_bytes += draft.size();
        self.open_prompts += 1;
        let prompt = Prompt {
            key,
            span_id: draft.span_id,
            trace_id: draft.place.trace_id.unwrap_or(ids.trace_id),
            start_ns: draft.start_ns,
            arrived_ns: now_ns,
            active_ns: now_ns,
            draft: Some(draft),
        };
        let at = at.unwrap_or(session.prompts.len());
        session.prompts.insert(at, prompt);
        if session.prompts.len() > MAX_PROMPTS {
            let oldest = session.prompts.pop_front();
            self.end_early(oldest);
        }
        self.forget(now_ns);
    }

    fn end_early(&mut self, prompts: impl IntoIterator<Item = Prompt>) {
        let prompts = prompts.into_iter();
        for (draft, trace_id) in prompts.filter_map(|one| Some((one.draft?, one.trace_id))) {
            self.counts.decided_early += 1;
            self.ended.push((draft, trace_id));
        }
    }

    /// Notes which sessions and traces are told by spans.
    pub fn update_traces(&mut self, request: &[u8], now_ns: u64) {
        self.sent.update(&mut self.plan, request, now_ns);
        self.forget(now_ns);
    }

    /// Makes the spans that are due, or all: a traces request and its number of spans.
    pub fn flush(&mut self, now_ns: u64, everything: bool) -> (Vec<u8>, u64) {
        let mut request = Request::default();
        let limits = self.plan.limits;
        let is_due =
            |work: &Work| everything || now_ns.saturating_sub(work.arrived_ns) >= limits.wait_ns;
        while self.work.front().is_some_and(is_due) {
            if let Some(work) = self.work.pop_front() {
                self.held_bytes -= work.draft.size();
                self.finish(&work, now_ns, &mut request);
            }
        }
        self.end_prompts(now_ns, everything);
        self.forget(now_ns);
        self.write_ended(now_ns, &mut request);
        let spans = request.spans;
        self.counts.made += spans;
        let out = request.encode();
        drop(request);
        self.drop_arounds();
        (out, spans)
    }

    /// Writes the span of some work whose wait is over, unless spans tell it.
    fn finish(&mut self, work: &Work, now_ns: u64, request: &mut Request) {
        let place = work.draft.place;
        if self.is_told(place, now_ns) {
            self.counts.left_to_spans += 1;
            return;
        }
        let counts = &mut self.counts;
        let session = self.sessions.get(place.session, now_ns);
        let prompt = session.and_then(|session| {
            session.is_made = true;
            let prompts = &mut session.prompts;
            let at = match work.prompt {
                0 => prompts
                    .iter()
                    .rposition(|prompt| prompt.start_ns <= work.draft.end_ns),
                key => prompts.iter().position(|prompt| prompt.key == key),
            };
            prompts.get_mut(at?)
        });
        let Some(prompt) = prompt else {
            counts.without_prompt += 1;
            let trace_id = place.trace_id.unwrap_or(work.own_trace_id);
            return request.add(&work.draft, trace_id, theirs(place));
        };
        prompt.active_ns = prompt.active_ns.max(work.arrived_ns);
        match &mut prompt.draft {
            Some(draft) => draft.end_ns = draft.end_ns.max(work.draft.end_ns),
            None => counts.late_work += 1,
        }
        let trace_id = place.trace_id.unwrap_or(prompt.trace_id);
        let parent = match trace_id == prompt.trace_id {
            true => Parent::Ours(prompt.span_id),
            false => theirs(place),
        };
        request.add(&work.draft, trace_id, parent);
    }

    /// Whether spans tell the work of a record; that uses what is known of them.
    fn is_told(&mut self, place: Place, now_ns: u64) -> bool {
        let is_told = self.sent.tells(place, now_ns);
        if is_told && place.session != 0 && self.sessions.has(place.session) {
            let session = self.sessions.entry(place.session, now_ns);
            self.counts.late_spans += u64::from(std::mem::take(&mut session.is_made));
        }
        is_told
    }

    /// Ends the prompts that are over: of which the session's next one is due, or for which nothing was done for long.
    fn end_prompts(&mut self, now_ns: u64, everything: bool) {
        let limits = self.plan.limits;
        for session in self.sessions.values() {
            let mut is_last = true;
            for prompt in session.prompts.iter_mut().rev() {
                let is_due = now_ns.saturating_sub(prompt.arrived_ns) >= limits.wait_ns;
                let is_idle = now_ns.saturating_sub(prompt.active_ns) >= limits.prompt_idle_ns;
                if everything || is_due && (is_idle || !is_last) {
                    let draft = prompt.draft.take();
                    self.ended
                        .extend(draft.map(|draft| (draft, prompt.trace_id)));
                }
                is_last &= !is_due;
            }
        }
    }

    fn write_ended(&mut self, now_ns: u64, request: &mut Request) {
        for (draft, trace_id) in std::mem::take(&mut self.ended) {
            self.held_bytes -= draft.size();
            self.open_prompts -= 1;
            if self.is_told(draft.place, now_ns) {
                self.counts.left_to_spans += 1;
                continue;
            }
            if let Some(session) = self.sessions.get(draft.place.session, now_ns) {
                session.is_made = true;
            }
            request.add(&draft, trace_id, theirs(draft.place));
        }
    }

    /// Forgets sessions and spans by time and number. Prompts of sessions that had to go end early.
    fn forget(&mut self, now_ns: u64) {
        let limits = self.plan.limits;
        let before_ns = now_ns.saturating_sub(limits.memory_ns);
        while let Some((session, _)) = self.sessions.forget(before_ns, limits.max_sessions) {
            self.end_early(session.prompts);
        }
        self.counts.forgotten += self.sent.forget(before_ns, limits.max_sessions);
    }

    fn drop_arounds(&mut self) {
        let held_bytes = &mut self.held_bytes;
        self.arounds.retain(|around| {
            let is_used = Arc::strong_count(around) > 1;
            if !is_used {
                *held_bytes -= around.size();
            }
            is_used
        });
    }

    /// Records that wait, and prompts that are not over.
    pub fn waiting(&self) -> u64 {
        self.work.len() as u64 + self.open_prompts
    }

    pub fn stats(&self) -> BTreeMap<&'static str, u64> {
        let counts = &self.counts;
        BTreeMap::from([
            ("made", counts.made),
            ("left_to_spans", counts.left_to_spans),
            ("invalid_duration", counts.invalid_durations),
            ("without_time", counts.without_time),
            ("without_prompt", counts.without_prompt),
            ("without_session", counts.without_session),
            ("too_many", counts.too_many),
            ("late_work", counts.late_work),
            ("late_spans", counts.late_spans),
            ("decided_early", counts.decided_early),
            ("forgotten", counts.forgotten),
        ])
    }
}

fn theirs(place: Place) -> Parent {
    let named = place.trace_id.and(place.span_id);
    named.map_or(Parent::None, Parent::Theirs)
}
