//! Which metrics do not agree with what has their name already, and who sends them: for people to read. How many data
//! points that costs is counted by reason.
#![forbid(unsafe_code)]

use std::sync::Mutex;

use indexmap::IndexMap;

use super::room::lock;
use super::series::{Kind, Reason};

/// Conflicts that are told apart. Over that, the one that was seen longest ago makes room.
const MAX_CONFLICTS: usize = 100;
/// Characters of a text that a sender chose.
const MAX_CHARS: usize = 200;

/// Who disagrees, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Conflict {
    pub metric: String,
    pub reason: Reason,
    /// The type or help that was refused.
    pub told: String,
    pub job: String,
    pub scope: String,
}

impl Conflict {
    pub fn new(metric: &str, reason: Reason, told: &str, job: &str, scope: &str) -> Self {
        Self {
            metric: short(metric),
            reason,
            told: short(told),
            job: short(job),
            scope: short(scope),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Seen {
    /// The type or help that stays, and of which family where that is another.
    pub held: String,
    pub count: u64,
    pub last_ns: u64,
}

#[derive(Default)]
pub struct Conflicts(Mutex<IndexMap<Conflict, Seen>>);

impl Conflicts {
    /// Notes a conflict; `held` is asked for only the first time.
    pub fn note(&self, conflict: Conflict, now_ns: u64, held: impl FnOnce() -> String) {
        let mut all = lock(&self.0);
        if let Some(seen) = all.get_mut(&conflict) {
            seen.count += 1;
            seen.last_ns = now_ns;
            return;
        }
        if all.len() >= MAX_CONFLICTS {
            let oldest = all
                .values()
                .enumerate()
                .min_by_key(|(_, seen)| seen.last_ns);
            if let Some((oldest, _)) = oldest {
                all.swap_remove_index(oldest);
            }
        }
        let seen = Seen {
            held: short(&held()),
            count: 1,
            last_ns: now_ns,
        };
        all.insert(conflict, seen);
    }

    pub fn all(&self) -> Vec<(Conflict, Seen)> {
        let all = lock(&self.0);
        all.iter()
            .map(|(conflict, seen)| (conflict.clone(), seen.clone()))
            .collect()
    }
}

/// What a family is called to people.
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
        Kind::Exponential => "exponential histogram",
        Kind::Summary => "summary",
        Kind::Unknown => "unknown",
        Kind::Info => "info",
        Kind::StateSet => "stateset",
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}
