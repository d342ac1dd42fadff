//! The ledger of usage: merges what is told of one request, and hands it on once. Bounded, and without a clock.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::sessions::{PointCost, Sessions, Sources};
use super::{KIND_NAMES, Telling, Tokens, Usage, Whose};
use crate::aggregate::hash::HashMap;
use crate::aggregate::intern::{ABSENT, Symbol};

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long usage waits for other tellings.
    pub decision_wait_ns: u64,
    /// How long counted requests, and idle sessions, are remembered.
    pub max_wait_ns: u64,
    /// How many requests, and how many sessions.
    pub max_requests: usize,
}

/// What was left out, or nearly, since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Items that told a request again after it had been counted.
    pub duplicates: u64,
    /// Requests, and data points of one session and label set, whose session is counted from another source.
    pub superseded: u64,
    /// Requests and sessions forgotten early; what tells them later is counted again.
    pub forgotten: u64,
}

/// Usage that is to be counted, now.
#[derive(Debug, PartialEq)]
pub struct Counted<'a> {
    pub labels: &'a [Symbol],
    pub tokens: Tokens,
    pub cost: Cost,
    /// Unix time; `u64::MAX` where it is not known.
    pub time_ns: u64,
    /// One request as a whole, not a sum of some.
    pub is_request: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cost {
    Usd(f64),
    /// Nobody told it: the price list has to say.
    Untold,
    /// Told for the session elsewhere.
    Elsewhere,
}

/// Orders what is told of one request: the smaller is preferred. Kinds of tokens left out, then kind of item, then time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u64);

impl Rank {
    fn of(usage: &Usage) -> Self {
        let untold = usage.tokens.iter().filter(|count| count.is_none()).count() as u64;
        Self((untold << 2 | usage.item as u64) << 56 | usage.time_ns >> 8)
    }
}

type Told = Option<(f64, Rank)>;

struct Entry {
    request: Option<u128>,
    whose: Whose,
    whose_rank: Rank,
    sources: Sources,
    tokens: [Told; KIND_NAMES.len()],
    cost_usd: Told,
    labels: Box<[Symbol]>,
    label_ranks: Box<[Rank]>,
    time_ns: u64,
    due_ns: u64,
}

#[derive(Default)]
struct Request {
    /// Items that are known to tell it and wait for their labels.
    announced: u32,
    state: State,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Announced,
    /// In the entry of this number.
    Waiting(u64),
    Settled,
}

/// Usage that waits for its labels, by handle.
#[derive(Default)]
struct Announced {
    places: Vec<Option<Usage>>,
    free: Vec<usize>,
}

impl Announced {
    fn put(&mut self, usage: Usage) -> u64 {
        let at = self.free.pop().unwrap_or(self.places.len());
        match self.places.get_mut(at) {
            Some(place) => *place = Some(usage),
            None => self.places.push(Some(usage)),
        }
        at as u64
    }

    fn take(&mut self, handle: u64) -> Option<Usage> {
        let at = usize::try_from(handle).ok()?;
        let usage = self.places.get_mut(at)?.take()?;
        self.free.push(at);
        Some(usage)
    }
}

pub struct Ledger {
    limits: Limits,
    announced: Announced,
    requests: HashMap<u128, Request>,
    /// Entries of data points by session and labels.
    groups: HashMap<(u64, Box<[Symbol]>), u64>,
    /// In the order in which they are due.
    waiting: VecDeque<Entry>,
    /// Number of the first entry; they count up.
    first: u64,
    /// When requests were settled, and which.
    settled: VecDeque<(u64, u128)>,
    sessions: Sessions,
    pub counts: Counts,
}

impl Ledger {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            announced: Announced::default(),
            requests: HashMap::default(),
            groups: HashMap::default(),
            waiting: VecDeque::new(),
            first: 0,
            settled: VecDeque::new(),
            sessions: Sessions::default(),
            counts: Counts::default(),
        }
    }

    /// Notes what a span or log record tells that arrived, before its labels are known: its session has such a source,
    /// and its request waits for it. Each handle is to be given to `add`, once.
    pub fn announce(&mut self, usage: Usage, now_ns: u64) -> u64 {
        let sources = Sources::of(usage.item, usage.request.is_some());
        self.sessions.see(usage.whose, sources, now_ns);
        if let Some(id) = usage.request {
            self.requests.entry(id).or_default().announced += 1;
        }
        self.announced.put(usage)
    }

    /// Takes in what was announced, now that its labels are known. They are as many at each call, here and below.
    pub fn add(&mut self, handle: u64, labels: &[Symbol], now_ns: u64) {
        let Some(usage) = self.announced.take(handle) else {
            return;
        };
        let sources = Sources::of(usage.item, usage.request.is_some());
        self.sessions.see(usage.whose, sources, now_ns);
        match usage.request {
            Some(id) => self.add_request(id, &usage, labels, now_ns),
            None => _ = self.push(&usage, labels, now_ns),
        }
    }

    /// Forgets what was announced: its item was known already.
    pub fn withdraw(&mut self, handle: u64) {
        let Some(id) = self.announced.take(handle).and_then(|usage| usage.request) else {
            return;
        };
        let request = self.requests.entry(id).or_default();
        request.announced = request.announced.saturating_sub(1);
        if request.announced == 0 && request.state == State::Announced {
            self.requests.remove(&id);
        }
    }

    fn add_request(&mut self, id: u128, usage: &Usage, labels: &[Symbol], now_ns: u64) {
        let request = self.requests.entry(id).or_default();
        request.announced = request.announced.saturating_sub(1);
        match request.state {
            State::Settled => self.counts.duplicates += 1,
            State::Waiting(number) => {
                if let Some(entry) = self.entry(number) {
                    entry.merge(usage, labels);
                }
            }
            State::Announced => {
                let number = self.push(usage, labels, now_ns);
                self.requests.entry(id).or_default().state = State::Waiting(number);
            }
        }
    }

    /// Takes in what a data point tells.
    pub fn add_point(&mut self, usage: &Usage, labels: &[Symbol], now_ns: u64) {
        let sources = Sources::of(usage.item, false);
        self.sessions.see(usage.whose, sources, now_ns);
        let group = (usage.whose.own(), labels.into());
        match self.groups.get(&group).copied() {
            Some(number) => {
                if let Some(entry) = self.entry(number) {
                    entry.sum(usage);
                }
            }
            None => {
                let number = self.push(usage, labels, now_ns);
                self.groups.insert(group, number);
            }
        }
        if usage.cost_usd.is_some() {
            let cost = self.sessions.cost(usage.whose, now_ns);
            if *cost == PointCost::Untold {
                *cost = PointCost::Told;
            }
        }
    }

    fn push(&mut self, usage: &Usage, labels: &[Symbol], now_ns: u64) -> u64 {
        let due_ns = now_ns.saturating_add(self.limits.decision_wait_ns);
        self.waiting.push_back(Entry::new(usage, labels, due_ns));
        self.last()
    }

    fn last(&self) -> u64 {
        self.first + (self.waiting.len() as u64).saturating_sub(1)
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let at = number.checked_sub(self.first)?;
        self.waiting.get_mut(usize::try_from(at).ok()?)
    }

    /// More waits than may: call `settle`.
    pub fn is_full(&self) -> bool {
        self.waiting.len() > self.limits.max_requests
    }

    /// Hands on what is due, or everything, in the order in which it came; forgets what is old.
    pub fn settle(&mut self, now_ns: u64, everything: bool, mut count: impl FnMut(&Counted<'_>)) {
        for _ in 0..self.waiting.len() {
            let is_forced = everything || self.is_full();
            let front = self.waiting.front();
            if !front.is_some_and(|entry| is_forced || entry.due_ns <= now_ns) {
                break;
            }
            let Some(entry) = self.waiting.pop_front() else {
                break;
            };
            self.first += 1;
            if !is_forced && self.is_announced(&entry) {
                self.put_off(entry, now_ns);
            } else {
                self.settle_entry(&entry, now_ns, &mut count);
            }
        }
        self.forget(now_ns);
    }

    fn is_announced(&self, entry: &Entry) -> bool {
        let request = entry.request.and_then(|id| self.requests.get(&id));
        request.is_some_and(|request| request.announced > 0)
    }

    fn put_off(&mut self, mut entry: Entry, now_ns: u64) {
        let id = entry.request;
        entry.due_ns = now_ns.saturating_add(self.limits.decision_wait_ns);
        self.waiting.push_back(entry);
        let number = self.last();
        if let Some(request) = id.and_then(|id| self.requests.get_mut(&id)) {
            request.state = State::Waiting(number);
        }
    }

    fn settle_entry(&mut self, entry: &Entry, now_ns: u64, count: &mut impl FnMut(&Counted<'_>)) {
        let is_point = entry.is_point();
        if let Some(id) = entry.request {
            self.requests.entry(id).or_default().state = State::Settled;
            self.settled.push_back((now_ns, id));
        }
        if is_point {
            let group = (entry.whose.own(), entry.labels.clone());
            self.groups.remove(&group);
        }
        if !self.sessions.choose(entry.whose, entry.sources, now_ns) {
            self.counts.superseded += 1;
            return;
        }
        let told = entry.cost_usd.map(|(usd, _)| usd.max(0.0));
        let cost = match told {
            _ if is_point => self.cost_of_points(entry.whose, told, now_ns),
            Some(usd) => Cost::Usd(usd),
            None => Cost::Untold,
        };
        count(&Counted {
            labels: &entry.labels,
            tokens: entry
                .tokens
                .map(|told| told.map_or(0.0, |(count, _)| count.max(0.0))),
            cost,
            time_ns: entry.time_ns,
            is_request: !is_point && !entry.is_sum(),
        });
    }

    /// Cost is told for the whole session or for nothing of it: a part that was priced by the list is not told again.
    fn cost_of_points(&mut self, whose: Whose, told: Option<f64>, now_ns: u64) -> Cost {
        let known = self.sessions.cost(whose, now_ns);
        match (*known, told) {
            (PointCost::Told, Some(usd)) => Cost::Usd(usd),
            (PointCost::Told, None) => Cost::Elsewhere,
            (PointCost::Listed, Some(_)) => {
                self.counts.superseded += 1;
                Cost::Untold
            }
            _ => {
                *known = PointCost::Listed;
                Cost::Untold
            }
        }
    }

    fn forget(&mut self, now_ns: u64) {
        let Limits {
            decision_wait_ns,
            max_wait_ns,
            max_requests,
        } = self.limits;
        let before_ns = now_ns.saturating_sub(max_wait_ns);
        for _ in 0..self.settled.len() {
            let is_over = self.settled.len() + self.waiting.len() > max_requests;
            let Some((settled_ns, id)) = self.settled.front().copied() else {
                break;
            };
            if settled_ns >= before_ns && !is_over {
                break;
            }
            self.settled.pop_front();
            let is_announced = self.requests.get(&id).is_some_and(|one| one.announced > 0);
            if is_announced && !is_over {
                self.settled.push_back((now_ns, id));
                continue;
            }
            self.requests.remove(&id);
            self.counts.forgotten += u64::from(settled_ns >= before_ns);
        }
        let idle_ns = now_ns.saturating_sub(max_wait_ns.max(decision_wait_ns));
        self.counts.forgotten += self.sessions.forget(idle_ns, max_requests);
    }

    /// Requests, and data points of one session and label set, that are not counted yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// All label values that are held.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.waiting
            .iter()
            .flat_map(|entry| entry.labels.iter().copied())
    }
}

impl Entry {
    fn new(usage: &Usage, labels: &[Symbol], due_ns: u64) -> Self {
        let rank = Rank::of(usage);
        Self {
            request: usage.request,
            whose: usage.whose,
            whose_rank: rank,
            sources: Sources::of(usage.item, usage.request.is_some()),
            tokens: usage.tokens.map(|count| count.map(|count| (count, rank))),
            cost_usd: usage.cost_usd.map(|usd| (usd, rank)),
            labels: labels.into(),
            label_ranks: vec![rank; labels.len()].into(),
            time_ns: usage.time_ns,
            due_ns,
        }
    }

    fn is_point(&self) -> bool {
        self.sources == Sources::of(Telling::Point, false)
    }

    fn is_sum(&self) -> bool {
        self.sources == Sources::of(Telling::Sum, false)
    }

    /// Another telling of the same request: what is preferred stays, what is missing comes in.
    fn merge(&mut self, usage: &Usage, labels: &[Symbol]) {
        let rank = Rank::of(usage);
        self.sources.add(Sources::of(usage.item, true));
        for (told, count) in self.tokens.iter_mut().zip(usage.tokens) {
            prefer(told, count, rank);
        }
        prefer(&mut self.cost_usd, usage.cost_usd, rank);
        let known = self.labels.iter_mut().zip(self.label_ranks.iter_mut());
        for ((label, known), other) in known.zip(labels) {
            if *other != ABSENT && (*label == ABSENT || rank < *known) {
                (*label, *known) = (*other, rank);
            }
        }
        let preference = |whose: Whose, rank| (whose.session.is_none(), rank);
        if preference(usage.whose, rank) < preference(self.whose, self.whose_rank) {
            (self.whose, self.whose_rank) = (usage.whose, rank);
        }
        self.time_ns = self.time_ns.min(usage.time_ns);
    }

    /// Another data point of the same session and labels.
    fn sum(&mut self, usage: &Usage) {
        for (told, count) in self.tokens.iter_mut().zip(usage.tokens) {
            add(told, count);
        }
        add(&mut self.cost_usd, usage.cost_usd);
        self.time_ns = self.time_ns.min(usage.time_ns);
    }
}

/// Takes `number` where it ranks before what is told; of two of one rank the larger.
fn prefer(told: &mut Told, number: Option<f64>, rank: Rank) {
    let Some(number) = number else { return };
    let is_better = told.is_none_or(|(known, known_rank)| {
        rank < known_rank || (rank == known_rank && number > known)
    });
    if is_better {
        *told = Some((number, rank));
    }
}

fn add(told: &mut Told, number: Option<f64>) {
    if let Some(number) = number {
        let (sum, rank) = told.unwrap_or((0.0, Rank(0)));
        *told = Some((sum + number, rank));
    }
}
