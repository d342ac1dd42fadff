//! Tokens and cost of model requests, counted once however many spans, log records and data points tell them.
//!
//! **One request, one fact.** What names a request by its id is merged, from whatever signal it comes: each number and
//! each label is taken from the telling that knows most (more kinds of tokens, then span before log record, then the
//! earlier one), and what that one lacks from the next. The order of arrival makes no difference. A request is counted
//! `decision_wait` after it was first told, and not before every span and log record that told it has its labels; what
//! tells it in the `max_wait` after that is a duplicate and ignored. Items without such an id are requests by themselves;
//! sent again they are known, spans by their own ids, log records by their content.
//!
//! **One source for a session.** A session may tell its usage by requests, by spans or log records without an id, by sums
//! (a span of several requests), and by data points, all at once. Requests known by id go before the rest, spans before
//! log records, these before sums, data points come last.
//! The choice is made when the first usage of the session is due, among all that the session has shown until then,
//! and kept until it was idle for `max_wait`; the other sources are superseded. A session that names no id shares all of
//! this with the rest of its sender, which is its resource without what only describes the machine and the process.
//!
//! **Disjoint kinds.** Where a sender counts one kind inside another (cached tokens inside the input, reasoning inside
//! the output), the inner is taken off the outer before anything is counted or priced.
//!
//! **Cost.** What the sender tells; else the price list, for the model, at the time of the request. Without a price the
//! cost is missing: counted by model, never zero. Data points tell the cost of a session as a whole: where one of them
//! does, none of its tokens are priced.
//!
//! Limits: a sender that samples its spans, or its log records, tells less usage than there was, even where its data
//! points tell all of it. And a restart forgets what was counted.
#![forbid(unsafe_code)]

pub mod account;
pub mod ledger;
pub mod prices;
pub mod rules;
pub mod sessions;

use std::num::NonZeroU64;

use serde::Deserialize;

use super::plan::Item;

/// What tells usage; the earlier one is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Telling {
    Span,
    Event,
    /// A span or log record that tells several requests together.
    Sum,
    /// A data point; it tells several requests, too.
    Point,
}

impl Telling {
    fn of(item: Item, is_sum: bool) -> Self {
        match item {
            Item::Point => Self::Point,
            _ if is_sum => Self::Sum,
            Item::Span => Self::Span,
            Item::Event => Self::Event,
        }
    }
}

/// Kinds of tokens; no token is of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Input,
    Output,
    CacheRead,
    CacheCreation,
    Reasoning,
}

/// In the order of `Kind`.
pub const KIND_NAMES: [&str; 5] = [
    "input",
    "output",
    "cache_read",
    "cache_creation",
    "reasoning",
];

/// Numbers of tokens in the order of `Kind`.
pub type Tokens = [f64; KIND_NAMES.len()];

/// The place of the cost among `Numbers`, after the kinds of tokens.
pub const COST_USD: usize = KIND_NAMES.len();

/// Tokens by kind, and the cost in USD; each may be untold.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Numbers {
    values: [f64; COST_USD + 1],
    /// A bit for each that is told.
    told: u8,
}

impl Numbers {
    pub fn get(&self, place: usize) -> Option<f64> {
        (self.told & 1 << place != 0).then(|| self.values[place])
    }

    pub fn put(&mut self, place: usize, number: f64) {
        self.values[place] = number;
        self.told |= 1 << place;
    }

    pub fn is_empty(&self) -> bool {
        self.told == 0
    }

    /// How many kinds of tokens are told.
    fn kinds(&self) -> u32 {
        (self.told & !(1 << COST_USD)).count_ones()
    }

    /// Tokens, 0 where they are untold or negative.
    fn tokens(&self) -> Tokens {
        std::array::from_fn(|kind| self.values[kind].max(0.0))
    }

    fn add(&mut self, more: &Self) {
        for (value, more) in self.values.iter_mut().zip(more.values) {
            *value += more;
        }
        self.told |= more.told;
    }
}

/// Whose usage it is, by hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose {
    pub session: Option<NonZeroU64>,
    pub sender: u64,
}

/// What one item tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Hash of the request's id; of a log record without one, of the record itself, as senders repeat what was not
    /// acknowledged. Data points have none.
    pub request: Option<NonZeroU64>,
    /// Other items may tell the same request.
    pub has_id: bool,
    pub whose: Whose,
    pub item: Telling,
    /// Of data points what they add, which for an outer kind can be negative.
    pub numbers: Numbers,
    /// Unix time; `u64::MAX` where it is not known.
    pub time_ns: u64,
}
