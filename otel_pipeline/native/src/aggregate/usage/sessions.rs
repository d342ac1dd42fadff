//! Which source each session's usage is counted from; remembered while the session is in use.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::num::NonZeroU64;

use super::{Telling, Whose};
use crate::aggregate::hash::HashMap;

/// What tells usage: sets of kinds of tellings, those with ids of requests and those without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sources {
    identified: u8,
    others: u8,
}

impl Sources {
    pub fn of(telling: Telling, identified: bool) -> Self {
        let bit = 1 << telling as u8;
        match identified {
            true => Self {
                identified: bit,
                others: 0,
            },
            false => Self {
                identified: 0,
                others: bit,
            },
        }
    }

    pub fn add(&mut self, more: Self) {
        self.identified |= more.identified;
        self.others |= more.others;
    }

    /// The items that usage without ids is taken from: the first kind, of those with ids where there are any.
    fn first(self) -> u8 {
        let items = match self.identified {
            0 => self.others,
            identified => identified,
        };
        items & items.wrapping_neg()
    }
}

/// What a session is counted from, once something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Requests with ids, from all items; and the usage without ids of the first items that have some.
    Requests,
    /// Items of one kind, with or without ids.
    Items(u8),
}

impl Choice {
    /// What is chosen where `seen` is all that was seen.
    fn best(seen: Sources) -> Self {
        match seen.identified {
            0 => Self::Items(seen.first()),
            _ => Self::Requests,
        }
    }

    fn admits(self, sources: Sources, seen: Sources) -> bool {
        match self {
            Self::Requests => sources.identified != 0 || sources.others == seen.first(),
            Self::Items(items) => (sources.identified | sources.others) & items != 0,
        }
    }
}

/// What is known of the cost of a session whose data points are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PointCost {
    #[default]
    Untold,
    /// Data points tell it.
    Told,
    /// It was priced by the list before a data point told it.
    Listed,
}

#[derive(Debug, Clone, Copy, Default)]
struct Session {
    seen: Sources,
    choice: Option<Choice>,
    cost: PointCost,
    used_ns: u64,
}

/// Sessions by hash; a sender has an entry for what it tells without a session, and one for all that it tells.
#[derive(Default)]
pub struct Sessions {
    known: HashMap<u64, Session>,
    /// Every known session once, about in the order of last use.
    idle: VecDeque<(u64, u64)>,
}

impl Whose {
    fn sessionless(self) -> u64 {
        self.sender.rotate_left(1) ^ 1
    }

    fn anything(self) -> u64 {
        self.sender.rotate_left(1) ^ 2
    }

    /// The entry of this session itself.
    pub fn own(self) -> u64 {
        self.session.map_or(self.sessionless(), NonZeroU64::get)
    }

    /// The entries that its usage is noted in.
    fn tells(self) -> [u64; 2] {
        [self.own(), self.anything()]
    }

    /// The entries whose usage may be the same as its own; the choice of the first that has one holds.
    fn minds(self) -> [u64; 2] {
        match self.session {
            Some(session) => [session.get(), self.sessionless()],
            None => [self.anything(); 2],
        }
    }
}

impl Sessions {
    pub fn see(&mut self, whose: Whose, sources: Sources, now_ns: u64) {
        for key in whose.tells() {
            self.session(key, now_ns).seen.add(sources);
        }
    }

    /// Whether what `sources` tell is to be counted. The first that is decides for the session.
    pub fn choose(&mut self, whose: Whose, sources: Sources, now_ns: u64) -> bool {
        if let Some(own) = self.known.get_mut(&whose.own())
            && let Some(choice) = own.choice
        {
            own.used_ns = now_ns;
            return choice.admits(sources, own.seen);
        }
        let (mut seen, mut choice) = (sources, None);
        for session in whose.minds().iter().filter_map(|key| self.known.get(key)) {
            seen.add(session.seen);
            choice = choice.or(session.choice);
        }
        let choice = choice.unwrap_or(Choice::best(seen));
        let is_chosen = choice.admits(sources, seen);
        if is_chosen {
            for key in whose.tells() {
                self.session(key, now_ns).choice.get_or_insert(choice);
            }
        }
        is_chosen
    }

    /// What is known of the cost of the session's data points.
    pub fn cost(&mut self, whose: Whose, now_ns: u64) -> &mut PointCost {
        &mut self.session(whose.own(), now_ns).cost
    }

    fn session(&mut self, key: u64, now_ns: u64) -> &mut Session {
        let idle = &mut self.idle;
        let session = self.known.entry(key).or_insert_with(|| {
            idle.push_back((now_ns, key));
            Session::default()
        });
        session.used_ns = now_ns;
        session
    }

    /// Forgets sessions last used before `before_ns`, and the oldest above `most`; how many of the latter.
    pub fn forget(&mut self, before_ns: u64, most: usize) -> u64 {
        let mut forgotten = 0;
        while let Some((noted_ns, key)) = self.idle.front().copied() {
            let is_over = self.known.len() > most;
            if noted_ns >= before_ns && !is_over {
                break;
            }
            self.idle.pop_front();
            let used_ns = self.known.get(&key).map_or(0, |session| session.used_ns);
            if used_ns > noted_ns && used_ns >= before_ns {
                self.idle.push_back((used_ns, key));
            } else {
                self.known.remove(&key);
                forgotten += u64::from(used_ns >= before_ns);
            }
        }
        forgotten
    }
}
