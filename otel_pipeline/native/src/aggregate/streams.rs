//! What the streams of data points said last, so that only what they add is counted, and each point once.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hash};

use super::hash::{HashMap, Seeded};
use super::intern::Symbol;

/// So many are known at a time; over that, those that were silent for longest are forgotten.
const MAX_STREAMS: usize = 100_000;

/// Streams that were silent for so long are forgotten.
const EXPIRATION_NS: u64 = 3_600_000_000_000;

/// Names a stream, so that neither chance nor senders can make two of them one.
pub type StreamId = u128;

/// A hash of anything that senders write.
pub fn hash_of(value: impl Hash) -> StreamId {
    let hasher = Seeded::default();
    let half = |mark: u8| u128::from(hasher.hash_one((mark, &value)));
    half(0) << 64 | half(1)
}

/// One data point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    pub start_ns: u64,
    pub time_ns: u64,
    /// The number, or the sum of a histogram.
    pub value: f64,
    /// Of a histogram, all in all and by bucket.
    pub count: u64,
    pub counts: Vec<u64>,
}

/// What one stream has in one series of an up-down counter.
pub struct Share {
    /// The metric, by position.
    pub family: usize,
    /// Label values before they are given their form.
    pub labels: Box<[Symbol]>,
    pub amount: f64,
}

struct Stream {
    last: Reading,
    shares: Vec<Share>,
    /// By the monotonic clock.
    seen_ns: u64,
    /// Counted by what it adds since it started, which is in its id.
    is_counter: bool,
}

pub struct Streams {
    by_id: HashMap<StreamId, Stream>,
    /// A counter that started later was never seen before, and counts from zero.
    known_since_unix_ns: u64,
    /// Counters that were met while they ran: what they had counted by then is not counted here.
    pub met_running: u64,
}

impl Streams {
    pub fn new(start_unix_ns: u64) -> Self {
        Self {
            by_id: HashMap::default(),
            known_since_unix_ns: start_unix_ns,
            met_running: 0,
        }
    }

    /// What a delta point adds; None for one that came before.
    pub fn delta(&mut self, id: StreamId, point: &Reading, now_ns: u64) -> Option<Reading> {
        let (stream, is_new) = self.stream(id, now_ns);
        if !is_new && stream.last == *point {
            return None;
        }
        stream.last = point.clone();
        Some(point.clone())
    }

    /// What a cumulative point adds to what its stream said before; None for a point that is not newer. The first point
    /// adds all it says where the stream cannot have been here before, else nothing: so does one that fell.
    pub fn gain(&mut self, id: StreamId, point: &Reading, now_ns: u64) -> Option<Reading> {
        let is_fresh = point.start_ns > self.known_since_unix_ns;
        let (stream, is_new) = self.stream(hash_of((id, point.start_ns)), now_ns);
        stream.is_counter = true;
        let known = std::mem::replace(&mut stream.last, point.clone());
        if !is_new && point.time_ns != 0 && point.time_ns <= known.time_ns {
            stream.last = known;
            return None;
        }
        let gained = if is_new { None } else { gained(point, &known) };
        self.met_running += u64::from(is_new && !is_fresh);
        Some(match gained {
            Some(gained) => gained,
            None if is_fresh => point.clone(),
            None => Reading {
                counts: vec![0; point.counts.len()],
                time_ns: point.time_ns,
                ..Reading::default()
            },
        })
    }

    /// What a point's value differs from the last one, which was 0 before the first; None for a point that is not newer.
    pub fn change(&mut self, id: StreamId, point: &Reading, now_ns: u64) -> Option<f64> {
        let (stream, is_new) = self.stream(id, now_ns);
        if !is_new && point.time_ns != 0 && point.time_ns <= stream.last.time_ns {
            return None;
        }
        let change = point.value - stream.last.value;
        stream.last = point.clone();
        Some(change)
    }

    /// Remembers what a stream has in a series, to be taken back when it is forgotten.
    pub fn share(&mut self, id: StreamId, family: usize, labels: &[Symbol], amount: f64) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        let mut shares = stream.shares.iter_mut();
        match shares.find(|share| share.family == family && *share.labels == *labels) {
            Some(share) => share.amount += amount,
            None => stream.shares.push(Share {
                family,
                labels: labels.into(),
                amount,
            }),
        }
    }

    fn stream(&mut self, id: StreamId, now_ns: u64) -> (&mut Stream, bool) {
        let mut is_new = false;
        let stream = self.by_id.entry(id).or_insert_with(|| {
            is_new = true;
            Stream {
                last: Reading::default(),
                shares: Vec::new(),
                seen_ns: now_ns,
                is_counter: false,
            }
        });
        stream.seen_ns = now_ns;
        (stream, is_new)
    }

    /// Forgets streams that were silent for long, and of too many the tenth that was silent for longest; gives what they
    /// had in up-down counters.
    pub fn forget(&mut self, now_ns: u64) -> Vec<Share> {
        let mut before_ns = now_ns.saturating_sub(EXPIRATION_NS);
        if self.by_id.len() > MAX_STREAMS {
            let mut seen: Vec<u64> = self.by_id.values().map(|stream| stream.seen_ns).collect();
            let (_, tenth, _) = seen.select_nth_unstable(MAX_STREAMS / 10);
            before_ns = before_ns.max(*tenth);
        }
        let (mut shares, mut known_since) = (Vec::new(), self.known_since_unix_ns);
        self.by_id.retain(|_, stream| {
            let stays = stream.seen_ns > before_ns || before_ns == 0;
            if !stays {
                shares.append(&mut stream.shares);
                if stream.is_counter {
                    known_since = known_since.max(stream.last.start_ns);
                }
            }
            stays
        });
        self.known_since_unix_ns = known_since;
        shares
    }

    /// Whether there are too many.
    pub fn is_full(&self) -> bool {
        self.by_id.len() > MAX_STREAMS
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All label values that are held.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        let shares = self.by_id.values().flat_map(|stream| &stream.shares);
        shares.flat_map(|share| share.labels.iter().copied())
    }
}

/// The increase from one point of a stream to the next; None where something fell, or has other buckets.
fn gained(point: &Reading, known: &Reading) -> Option<Reading> {
    let buckets = point.counts.iter().zip(&known.counts);
    let counts = buckets.map(|(new, old)| new.checked_sub(*old));
    let same = point.counts.len() == known.counts.len() && point.value >= known.value;
    same.then_some(())?;
    Some(Reading {
        start_ns: point.start_ns,
        time_ns: point.time_ns,
        value: point.value - known.value,
        count: point.count.checked_sub(known.count)?,
        counts: counts.collect::<Option<_>>()?,
    })
}
