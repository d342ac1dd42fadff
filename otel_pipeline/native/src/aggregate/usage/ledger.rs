//! The ledger of usage: merges what is told of one request, and hands it on once. Bounded, and without a clock.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::num::NonZeroU64;

use super::sessions::{PointCost, Sessions, Sources};
use super::{COST_USD, Telling, Tokens, Usage, Whose};
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
        let untold = COST_USD as u64 - u64::from(usage.numbers.kinds());
        Self((untold << 2 | usage.item as u64) << 56 | usage.time_ns >> 8)
    }
}

/// What is known of one request, or of the data points of one session and label set.
struct Fact {
    /// As the first item told it, and then better.
    usage: Usage,
    sources: Sources,
    /// Of each number, and each label, once a second item told of the request.
    ranks: Option<Box<Ranks>>,
}

struct Ranks {
    numbers: [Rank; COST_USD + 1],
    labels: Vec<Rank>,
    whose: Rank,
}

/// A fact whose labels are known, until it is counted.
struct Entry {
    handle: u64,
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

pub struct Ledger {
    limits: Limits,
    facts: Facts,
    requests: HashMap<NonZeroU64, Request>,
    /// Entries of data points by session and labels.
    groups: HashMap<(u64, Box<[Symbol]>), u64>,
    /// In the order in which they are due.
    waiting: VecDeque<Entry>,
    /// Number of the first entry; they count up.
    first: u64,
    /// Labels of the entries, one after the other, and how many each has.
    labels: VecDeque<Symbol>,
    stride: usize,
    /// When requests were settled, and which.
    settled: VecDeque<(u64, NonZeroU64)>,
    sessions: Sessions,
    pub counts: Counts,
}

impl Ledger {
    /// `stride`: how many labels there are.
    pub fn new(limits: Limits, stride: usize) -> Self {
        Self {
            limits,
            facts: Facts::default(),
            requests: HashMap::default(),
            groups: HashMap::default(),
            waiting: VecDeque::new(),
            first: 0,
            labels: VecDeque::new(),
            stride,
            settled: VecDeque::new(),
            sessions: Sessions::default(),
            counts: Counts::default(),
        }
    }

    /// Notes what a span or log record tells that arrived, before its labels are known: its session has such a source,
    /// and its request waits for it. Each handle is to be given to `add` or `withdraw`, once.
    pub fn announce(&mut self, usage: Usage, now_ns: u64) -> u64 {
        let fact = Fact::new(usage);
        self.sessions.see(usage.whose, fact.sources, now_ns);
        if let Some(id) = usage.request {
            self.requests.entry(id).or_default().announced += 1;
        }
        self.facts.put(fact)
    }

    /// Forgets what was announced: its item was known already.
    pub fn withdraw(&mut self, handle: u64) {
        let Some(id) = self.facts.take(handle).and_then(|fact| fact.usage.request) else {
            return;
        };
        let request = self.requests.entry(id).or_default();
        request.announced = request.announced.saturating_sub(1);
        if request.announced == 0 && request.state == State::Announced {
            self.requests.remove(&id);
        }
    }

    /// Takes in what was announced, now that its labels are known.
    pub fn add(&mut self, handle: u64, labels: &[Symbol], now_ns: u64) {
        let Some(fact) = self.facts.get(handle) else {
            return;
        };
        let Some(id) = fact.usage.request else {
            self.push(handle, labels, now_ns);
            return;
        };
        let request = self.requests.entry(id).or_default();
        request.announced = request.announced.saturating_sub(1);
        match request.state {
            State::Announced => {
                let number = self.push(handle, labels, now_ns);
                self.requests.entry(id).or_default().state = State::Waiting(number);
            }
            State::Waiting(number) => self.merge(number, handle, labels),
            State::Settled => {
                self.counts.duplicates += 1;
                self.facts.take(handle);
            }
        }
    }

    /// Takes in what a data point tells.
    pub fn add_point(&mut self, usage: &Usage, labels: &[Symbol], now_ns: u64) {
        let sources = Sources::of(usage.item, false);
        self.sessions.see(usage.whose, sources, now_ns);
        if usage.numbers.get(COST_USD).is_some() {
            let cost = self.sessions.cost(usage.whose, now_ns);
            if *cost == PointCost::Untold {
                *cost = PointCost::Told;
            }
        }
        let group = (usage.whose.own(), labels.into());
        let known = self.groups.get(&group).and_then(|number| self.at(*number));
        let known = known.map(|at| self.waiting[at].handle);
        match known.and_then(|handle| self.facts.get(handle)) {
            Some(fact) => fact.sum(usage),
            None => {
                let handle = self.facts.put(Fact::new(*usage));
                let number = self.push(handle, labels, now_ns);
                self.groups.insert(group, number);
            }
        }
    }

    /// Puts a fact in line and gives the number of its entry.
    fn push(&mut self, handle: u64, labels: &[Symbol], now_ns: u64) -> u64 {
        let due_ns = now_ns.saturating_add(self.limits.decision_wait_ns);
        self.labels.extend(labels.iter().take(self.stride));
        let entries = self.waiting.len() + 1;
        self.labels.resize(entries * self.stride, ABSENT); // Were there fewer, every later entry would shift.
        self.waiting.push_back(Entry { handle, due_ns });
        self.first + self.waiting.len() as u64 - 1
    }

    /// Where the entry of a number stands.
    fn at(&self, number: u64) -> Option<usize> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (at < self.waiting.len()).then_some(at)
    }

    fn merge(&mut self, number: u64, handle: u64, labels: &[Symbol]) {
        let Some((at, other)) = self.at(number).zip(self.facts.take(handle)) else {
            return;
        };
        if let Some(fact) = self.facts.get(self.waiting[at].handle) {
            let from = at * self.stride;
            let own = self.labels.range_mut(from..from + self.stride);
            fact.merge(&other.usage, own.zip(labels));
        }
    }

    /// More waits than may: call `settle`.
    pub fn is_full(&self) -> bool {
        self.waiting.len() > self.limits.max_requests
    }

    /// Hands on what is due, or everything, in the order in which it came; forgets what is old.
    pub fn settle(&mut self, now_ns: u64, everything: bool, mut count: impl FnMut(&Counted<'_>)) {
        let mut labels = Vec::with_capacity(self.stride);
        for _ in 0..self.waiting.len() {
            let is_forced = everything || self.is_full();
            let front = self.waiting.front();
            let front = front.filter(|entry| is_forced || entry.due_ns <= now_ns);
            let Some(handle) = front.map(|entry| entry.handle) else {
                break;
            };
            self.waiting.pop_front();
            self.first += 1;
            labels.clear();
            labels.extend(self.labels.drain(..self.stride));
            if !is_forced && self.is_announced(handle) {
                self.put_off(handle, &labels, now_ns);
            } else {
                self.settle_fact(handle, &labels, now_ns, &mut count);
            }
        }
        self.forget(now_ns);
    }

    fn is_announced(&mut self, handle: u64) -> bool {
        let id = self.facts.get(handle).and_then(|fact| fact.usage.request);
        let request = id.and_then(|id| self.requests.get(&id));
        request.is_some_and(|request| request.announced > 0)
    }

    fn put_off(&mut self, handle: u64, labels: &[Symbol], now_ns: u64) {
        let number = self.push(handle, labels, now_ns);
        let id = self.facts.get(handle).and_then(|fact| fact.usage.request);
        if let Some(request) = id.and_then(|id| self.requests.get_mut(&id)) {
            request.state = State::Waiting(number);
        }
    }

    fn settle_fact(
        &mut self,
        handle: u64,
        labels: &[Symbol],
        now_ns: u64,
        count: &mut impl FnMut(&Counted<'_>),
    ) {
        let Some(Fact { usage, sources, .. }) = self.facts.take(handle) else {
            return;
        };
        let is_point = usage.item == Telling::Point;
        if let Some(id) = usage.request {
            self.requests.entry(id).or_default().state = State::Settled;
            self.settled.push_back((now_ns, id));
        }
        if is_point {
            self.groups.remove(&(usage.whose.own(), labels.into()));
        }
        if !self.sessions.choose(usage.whose, sources, now_ns) {
            self.counts.superseded += 1;
            return;
        }
        let told = usage.numbers.get(COST_USD);
        let cost = match told {
            _ if is_point => self.cost_of_points(usage.whose, told, now_ns),
            Some(usd) => Cost::Usd(usd),
            None => Cost::Untold,
        };
        count(&Counted {
            labels,
            tokens: usage.numbers.tokens(),
            cost,
            time_ns: usage.time_ns,
            is_request: usage.item < Telling::Sum,
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
        let limits = self.limits;
        let before_ns = now_ns.saturating_sub(limits.max_wait_ns);
        for _ in 0..self.settled.len() {
            let is_over = self.settled.len() + self.waiting.len() > limits.max_requests;
            let Some((settled_ns, id)) = self.settled.front().copied() else {
                break;
            };
            if settled_ns >= before_ns && !is_over {
                break;
            }
            self.settled.pop_front();
            let request = self.requests.get(&id);
            if request.is_some_and(|one| one.announced > 0) && !is_over {
                self.settled.push_back((now_ns, id));
                continue;
            }
            self.requests.remove(&id);
            self.counts.forgotten += u64::from(settled_ns >= before_ns);
        }
        // What a session announced as its last may wait for `max_wait`, and then twice for `decision_wait`.
        let idle_ns = before_ns.saturating_sub(limits.decision_wait_ns.saturating_mul(2));
        self.counts.forgotten += self.sessions.forget(idle_ns, limits.max_requests);
    }

    /// Requests, and data points of one session and label set, that are not counted yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// All label values that are held.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.labels.iter().copied()
    }
}

/// All facts by handle.
#[derive(Default)]
struct Facts {
    places: Vec<Option<Fact>>,
    free: Vec<usize>,
}

impl Facts {
    fn put(&mut self, fact: Fact) -> u64 {
        let at = self.free.pop().unwrap_or(self.places.len());
        match self.places.get_mut(at) {
            Some(place) => *place = Some(fact),
            None => self.places.push(Some(fact)),
        }
        at as u64
    }

    fn get(&mut self, handle: u64) -> Option<&mut Fact> {
        self.places.get_mut(usize::try_from(handle).ok()?)?.as_mut()
    }

    fn take(&mut self, handle: u64) -> Option<Fact> {
        let at = usize::try_from(handle).ok()?;
        let fact = self.places.get_mut(at)?.take()?;
        self.free.push(at);
        Some(fact)
    }
}

impl Fact {
    fn new(usage: Usage) -> Self {
        Self {
            usage,
            sources: Sources::of(usage.item, usage.has_id),
            ranks: None,
        }
    }

    /// Another telling of the same request: what is preferred stays, what is missing comes in. `labels` are pairs of the
    /// known and the other.
    fn merge<'a>(
        &mut self,
        other: &Usage,
        labels: impl ExactSizeIterator<Item = (&'a mut Symbol, &'a Symbol)>,
    ) {
        let (usage, rank) = (&mut self.usage, Rank::of(other));
        let own_rank = Rank::of(usage);
        let ranks = self.ranks.get_or_insert_with(|| {
            Box::new(Ranks {
                numbers: [own_rank; COST_USD + 1],
                labels: vec![own_rank; labels.len()],
                whose: own_rank,
            })
        });
        self.sources.add(Sources::of(other.item, other.has_id));
        for (place, known) in ranks.numbers.iter_mut().enumerate() {
            let Some(number) = other.numbers.get(place) else {
                continue;
            };
            let is_better = usage
                .numbers
                .get(place)
                .is_none_or(|told| rank < *known || (rank == *known && number > told));
            if is_better {
                usage.numbers.put(place, number);
                *known = rank;
            }
        }
        for ((label, other), known) in labels.zip(&mut ranks.labels) {
            if *other != ABSENT && (*label == ABSENT || rank < *known) {
                (*label, *known) = (*other, rank);
            }
        }
        let preference = |whose: Whose, rank| (whose.session.is_none(), rank);
        if preference(other.whose, rank) < preference(usage.whose, ranks.whose) {
            (usage.whose, ranks.whose) = (other.whose, rank);
        }
        usage.time_ns = usage.time_ns.min(other.time_ns);
    }

    /// Another data point of the same session and labels.
    fn sum(&mut self, other: &Usage) {
        self.usage.numbers.add(&other.numbers);
        self.usage.time_ns = self.usage.time_ns.min(other.time_ns);
    }
}
