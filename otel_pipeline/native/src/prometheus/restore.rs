//! A store goes on from what another wrote down (`checkpoint.rs` tells how that looks).
//!
//! Whatever the bytes are, the store works afterwards and obeys its limits. Of a file with a hole the series are taken,
//! so that nothing falls, but no streams: one that went on before the hole and one after it do not fit together, and
//! what a sender brought could count twice. Then a cumulative sender brings only what it gains from now on.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use indexmap::IndexMap;

use super::checkpoint::{
    FRAME_HEAD, MAGIC, MARK, Times, VERSION, body, checksum, flag, kind_code, record,
};
use super::codec::{Code, take_line, take_next, take_text};
use super::family::{State, leave, place};
use super::identity::Identity;
use super::names::{FamilyName, type_suffix};
use super::room::{Collects, Room, lock};
use super::series::{Kind, Point, Reason, Series};
use super::store::{SCRAPERS, Slot, Store, Target};
use super::stream::{Last, OVERFLOW, Stream, StreamId};
use super::value::Value;

pub mod problem {
    use super::Reason;

    pub const EMPTY: Reason = "empty";
    pub const FOREIGN: Reason = "foreign";
    pub const VERSION: Reason = "version";
    pub const CONFIGURATION: Reason = "configuration";
    pub const DAMAGED: Reason = "damaged";
    pub const CLOCK: Reason = "clock";
    pub const OVER_LIMIT: Reason = "over_limit";
    /// The last frame was not written to its end. What it held was not shown to anyone.
    pub const TORN: Reason = "torn";
}

/// A clock that stands so far before the last frame has been set back.
const MAX_BACK_NS: u64 = 300_000_000_000;

/// What became of a checkpoint.
#[derive(Default)]
pub struct Restored {
    pub series: usize,
    pub streams: usize,
    /// Series and streams for which there was no room, or no place.
    pub left_out: usize,
    /// When the last frame was taken; Unix time.
    pub written_ns: u64,
    /// None where everything was restored.
    pub problem: Option<Reason>,
    pub scrapers: Vec<(usize, String)>,
}

/// Fills an empty store.
pub fn restore(store: &Store, file: &[u8], now_ns: u64) -> Restored {
    read(file)
        .and_then(|saved| saved.fill(store, now_ns))
        .unwrap_or_else(|problem| Restored {
            problem: Some(problem),
            ..Restored::default()
        })
}

/// All that a file says.
#[derive(Default)]
struct Saved {
    head: Option<Head>,
    families: IndexMap<String, SavedFamily>,
    scrapers: BTreeMap<u8, Slot>,
    targets: IndexMap<Box<str>, Target>,
    written_ns: u64,
    torn: bool,
    damaged: bool,
}

struct Head {
    shape: [u8; 32],
    identity: Identity,
    epoch_ns: u64,
}

struct SavedFamily {
    name: FamilyName,
    kind: Kind,
    help: String,
    series: BTreeMap<u32, SavedSeries>,
    streams: BTreeMap<u32, SavedStream>,
    /// Numbers of streams. One that expired and came again has another one.
    numbers: HashMap<StreamId, u32>,
}

struct SavedStream {
    id: StreamId,
    /// The number of its series.
    series: u32,
    stream: Stream,
}

struct SavedSeries {
    labels: Box<str>,
    overflow: bool,
    /// Its one stream has its last value in a sum.
    leaves: bool,
    series: Series,
}

fn read(file: &[u8]) -> Result<Saved, Reason> {
    if file.is_empty() {
        return Err(problem::EMPTY);
    }
    let rest = file.strip_prefix(MAGIC).ok_or(problem::FOREIGN)?;
    let mut rest = rest.strip_prefix(VERSION).ok_or(problem::VERSION)?;
    let mut saved = Saved::default();
    while !rest.is_empty() {
        match next_frame(rest) {
            Some((body, after)) => {
                let read = saved.take(body).is_some();
                saved.damaged |= saved.torn || !read;
                rest = after;
            }
            None => {
                saved.torn = true;
                let next = memchr::memmem::find(rest.get(1..).unwrap_or_default(), &MARK);
                rest = next.and_then(|at| rest.get(at + 1..)).unwrap_or_default();
            }
        }
    }
    Ok(saved)
}

/// The body of the frame that stands here, and what comes after it.
fn next_frame(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut head, after) = rest.split_at_checked(FRAME_HEAD)?;
    head = head.strip_prefix(&MARK)?;
    let length = u32::take(&mut head)? as usize;
    let sum = u64::take(&mut head)?;
    let (body, after) = after.split_at_checked(length)?;
    (checksum(body) == sum).then_some((body, after))
}

impl Saved {
    fn take(&mut self, mut from: &[u8]) -> Option<()> {
        match u8::take(&mut from)? {
            body::STORE => self.take_store(&mut from),
            body::FAMILY => self.take_family(&mut from),
            _ => None,
        }
    }

    fn take_store(&mut self, from: &mut &[u8]) -> Option<()> {
        let (shape, rest) = from.split_first_chunk()?;
        *from = rest;
        let mut seeds = [0; 4];
        for seed in &mut seeds {
            *seed = u64::take(from)?;
        }
        let (epoch_ns, written_ns) = <(u64, u64)>::take(from)?;
        while bool::take(from)? {
            let number = u8::take(from)?;
            let slot = Slot {
                since: u64::take(from)?,
                name: take_text(from)?.into(),
                changed: false,
            };
            self.scrapers.insert(number, slot);
        }
        while bool::take(from)? {
            let target = |ingested_ns, labels: &str| Target {
                labels: labels.into(),
                ingested_ns,
                changed: false,
                told: false,
            };
            let ingested_ns = u64::take(from)?;
            let key = take_text(from)?.into();
            self.targets
                .insert(key, target(ingested_ns, take_line(from)?));
        }
        self.head = Some(Head {
            shape: *shape,
            identity: Identity { seeds },
            epoch_ns,
        });
        self.written_ns = self.written_ns.max(written_ns);
        Some(())
    }

    fn take_family(&mut self, from: &mut &[u8]) -> Option<()> {
        let written_ns = u64::take(from)?;
        let name = take_text(from)?;
        let kind = take_kind(from)?;
        let suffix = match bool::take(from)? {
            true => type_suffix(kind),
            false => "",
        };
        let (unit, help) = (take_text(from)?, take_text(from)?);
        let held = self.families.get(name);
        if held.is_none_or(|held| held.kind != kind || held.name.suffix != suffix) {
            let family = SavedFamily {
                name: FamilyName {
                    name: name.to_owned(),
                    suffix,
                    unit: unit.to_owned(),
                },
                kind,
                help: help.to_owned(),
                series: BTreeMap::new(),
                streams: BTreeMap::new(),
                numbers: HashMap::new(),
            };
            self.families.insert(name.to_owned(), family);
        }
        let family = self.families.get_mut(name)?;
        let mut times = Times::default();
        while !from.is_empty() {
            family.take(from, &mut times)?;
        }
        self.written_ns = self.written_ns.max(written_ns);
        Some(())
    }

    fn fill(mut self, store: &Store, now_ns: u64) -> Result<Restored, Reason> {
        let head = self.head.take().ok_or(problem::DAMAGED)?;
        if head.shape != store.options.shape {
            return Err(problem::CONFIGURATION);
        }
        let set_back = self.written_ns > now_ns.saturating_add(MAX_BACK_NS);
        let whole = !self.damaged && !set_back;
        let mut restored = Restored {
            written_ns: self.written_ns,
            ..Restored::default()
        };
        if whole {
            store.set_identity(head.identity);
        }
        for (_, mut saved) in std::mem::take(&mut self.families) {
            saved.drop_expired(&store.room, now_ns);
            if saved.series.is_empty() || (!whole && saved.kind.is_gauge()) {
                continue;
            }
            match store.family(&saved.name, saved.kind, &saved.help) {
                Ok(family) => {
                    let mut state = family.lock();
                    saved.fill(&mut state, &store.room, whole, now_ns, &mut restored);
                }
                Err(_) => restored.left_out += saved.series.len(),
            }
        }
        // Only of what is all here can be told that the rest is new.
        if whole && restored.left_out == 0 {
            let own_ns = store.room.epoch_ns();
            store.room.set_epoch_ns(head.epoch_ns.min(own_ns));
        }
        let collected_ns = self.written_ns.min(now_ns);
        store.collected_ns.store(collected_ns, Ordering::Relaxed);
        restored.scrapers = self.fill_scrapers(store);
        self.fill_targets(store, now_ns);
        restored.problem = match () {
            () if self.damaged => Some(problem::DAMAGED),
            () if set_back => Some(problem::CLOCK),
            () if restored.left_out > 0 => Some(problem::OVER_LIMIT),
            () if self.torn => Some(problem::TORN),
            () => None,
        };
        Ok(restored)
    }

    fn fill_scrapers(&self, store: &Store) -> Vec<(usize, String)> {
        let mut slots = lock(&store.scrapers);
        let mut held = Vec::new();
        for (number, saved) in &self.scrapers {
            let number = usize::from(*number);
            if let Some(slot) = slots.get_mut(number).filter(|_| number < SCRAPERS) {
                *slot = saved.clone();
                store.room.pass_birth(saved.since);
                held.push((number, saved.name.to_string()));
            }
        }
        held
    }

    fn fill_targets(&mut self, store: &Store, now_ns: u64) {
        let mut targets = lock(&store.targets);
        let limit = store.room.max_series_per_metric;
        for (key, mut target) in std::mem::take(&mut self.targets) {
            target.ingested_ns = target.ingested_ns.min(now_ns);
            target.told = store.room.collected != Collects::Nothing;
            if targets.len() < limit && !store.room.is_expired(target.ingested_ns, now_ns) {
                targets.insert(key, target);
            }
        }
    }
}

fn take_kind(from: &mut &[u8]) -> Option<Kind> {
    let code = u8::take(from)?;
    [
        Kind::Counter,
        Kind::Gauge,
        Kind::Histogram,
        Kind::Exponential,
        Kind::Summary,
        Kind::Unknown,
        Kind::Info,
        Kind::StateSet,
    ]
    .into_iter()
    .find(|kind| kind_code(*kind) == code)
}

impl SavedFamily {
    fn take(&mut self, from: &mut &[u8], times: &mut Times) -> Option<()> {
        match u8::take(from)? {
            record::TIMES => times.series = Code::take(from)?,
            record::STREAM_TIMES => times.stream = Code::take(from)?,
            record::SERIES => self.take_series(from)?,
            record::NUMBERS => self.take_numbers(from, times)?,
            record::VALUE => {
                let number = u32::take(from)?;
                self.take_next(number, from, times, take_next)?;
            }
            record::STREAM => self.take_stream(from, times)?,
            record::STREAMS => self.take_streams(from, times, |_| Some(Last::Nothing))?,
            record::STREAM_NUMBERS => {
                let kind = self.kind;
                self.take_streams(from, times, |from| {
                    let number = f64::take(from)?;
                    is_of(kind, &Value::Number(number)).then_some(Last::Number(number))
                })?;
            }
            _ => return None,
        }
        Some(())
    }

    fn take_series(&mut self, from: &mut &[u8]) -> Option<()> {
        let (number, flags) = <(u32, u8)>::take(from)?;
        let owner = StreamId::take(from)?;
        let (start_ns, time_ns) = <(u64, u64)>::take(from)?;
        let (ingested_ns, (born, shown)) = <(u64, (u64, u64))>::take(from)?;
        let labels = take_line(from)?.into();
        let value = Value::take(from).filter(|value| is_of(self.kind, value))?;
        let point = Point {
            start_ns,
            time_ns,
            untimed: false,
            value,
        };
        let mut series = Series::new(point, owner, ingested_ns, born, flags & flag::FRESH != 0);
        series.shown = shown;
        series.plain = flags & flag::PLAIN != 0;
        series.stale = flags & flag::STALE != 0;
        let saved = SavedSeries {
            labels,
            overflow: flags & flag::OVERFLOW != 0,
            leaves: flags & flag::LEAVES != 0,
            series,
        };
        self.series.insert(number, saved);
        Some(())
    }

    fn take_numbers(&mut self, from: &mut &[u8], times: &Times) -> Option<()> {
        for number in take_run(from)? {
            let read = |_: Option<&Value>, from: &mut &[u8]| f64::take(from).map(Value::Number);
            self.take_next(number, from, times, read)?;
        }
        Some(())
    }

    /// What a series says next. One that is not known has been lost with its frame.
    fn take_next(
        &mut self,
        number: u32,
        from: &mut &[u8],
        times: &Times,
        read: impl FnOnce(Option<&Value>, &mut &[u8]) -> Option<Value>,
    ) -> Option<()> {
        let series = &mut self.series.get_mut(&number)?.series;
        let value = read(Some(&series.point.value), from)?;
        series.point.value = Some(value).filter(|value| is_of(self.kind, value))?;
        (series.point.time_ns, series.ingested_ns) = times.series;
        Some(())
    }

    fn take_stream(&mut self, from: &mut &[u8], times: &Times) -> Option<()> {
        let (number, (id, series)) = <(u32, (StreamId, u32))>::take(from)?;
        let (start_ns, (time_ns, seen_ns)) = times.stream;
        let (leaves, known) = <(bool, bool)>::take(from)?;
        let mut stream = Stream {
            start_ns,
            time_ns,
            seen_ns,
            last: Last::Nothing,
            series: 0,
            saved: 0,
            leaves,
            changed: false,
        };
        if known {
            stream.keep(Value::take(from).filter(|value| is_of(self.kind, value))?);
        }
        match self.numbers.insert(id, number) {
            Some(before) if before != number => _ = self.streams.remove(&before),
            _ => {}
        }
        let saved = SavedStream { id, series, stream };
        self.streams.insert(number, saved);
        Some(())
    }

    fn take_streams(
        &mut self,
        from: &mut &[u8],
        times: &Times,
        read: impl Fn(&mut &[u8]) -> Option<Last>,
    ) -> Option<()> {
        for number in take_run(from)? {
            let stream = &mut self.streams.get_mut(&number)?.stream;
            (stream.start_ns, (stream.time_ns, stream.seen_ns)) = times.stream;
            stream.last = read(from)?;
        }
        Some(())
    }

    /// Of two with the same labels the older one had expired before the other began.
    fn drop_expired(&mut self, room: &Room, now_ns: u64) {
        let mut latest = HashMap::new();
        for (number, saved) in &self.series {
            latest.insert((saved.overflow, saved.labels.clone()), *number);
        }
        self.series.retain(|number, saved| {
            saved.series.ingested_ns = saved.series.ingested_ns.min(now_ns);
            let key = (saved.overflow, saved.labels.clone());
            latest.get(&key) == Some(number) && !room.is_expired(saved.series.ingested_ns, now_ns)
        });
    }

    fn fill(
        self,
        state: &mut State,
        room: &Room,
        whole: bool,
        now_ns: u64,
        restored: &mut Restored,
    ) {
        let mut places = HashMap::new();
        for (number, saved) in self.series {
            match fill_series(state, room, saved, whole, now_ns) {
                Some(place) => _ = places.insert(number, place),
                None => restored.left_out += 1,
            }
        }
        for saved in self.streams.into_values().filter(|_| whole) {
            let SavedStream { id, mut stream, .. } = saved;
            let Some(at) = places.get(&saved.series) else {
                continue;
            };
            stream.series = *at;
            stream.seen_ns = stream.seen_ns.min(now_ns);
            let expired = room.is_expired(stream.seen_ns, now_ns);
            if expired || !insert(state, room, id, stream.clone()) {
                restored.left_out += usize::from(!expired);
                if let Some(series) = place(&mut state.series, &mut state.overflow, *at)
                    && stream.leaves
                {
                    leave(&mut stream, series);
                }
            }
        }
        restored.series += places.len();
        restored.streams += state.streams.len();
    }
}

/// Numbers that follow one another.
fn take_run(from: &mut &[u8]) -> Option<std::ops::Range<u32>> {
    let (first, length) = <(u32, u32)>::take(from)?;
    Some(first..first.checked_add(length)?)
}

/// Its place; None where there is no room.
fn fill_series(
    state: &mut State,
    room: &Room,
    saved: SavedSeries,
    whole: bool,
    now_ns: u64,
) -> Option<u32> {
    let mut series = saved.series;
    if series.shown != 0 {
        series.was_collected(room.collected, now_ns);
    }
    room.pass_birth(series.born);
    if saved.overflow {
        series.plain = false;
        state.overflow = Some(series);
        return Some(OVERFLOW);
    }
    let lines = series.point.value.lines();
    if state.series.len() >= room.max_series_per_metric || !room.take_series(lines) {
        return None;
    }
    let at = state.series.len() as u32;
    if series.plain {
        let mut owner = Stream::new(&series.point, at, series.ingested_ns);
        owner.leaves = saved.leaves;
        series.plain = whole && insert(state, room, series.owner, owner);
    }
    if saved.leaves && !series.plain {
        room.give_back(1, lines);
        return None;
    }
    state.series.insert(saved.labels, series);
    Some(at)
}

fn insert(state: &mut State, room: &Room, id: StreamId, stream: Stream) -> bool {
    let fits = !state.streams.contains_key(&id) && room.take_stream(stream.series == OVERFLOW);
    if fits {
        state.streams.insert(id, stream);
    }
    fits
}

/// Whether a family of this kind can hold the value.
fn is_of(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Counter, Value::Number(number)) => number.is_finite() && *number >= 0.0,
        (kind, Value::Number(_)) => kind.is_gauge(),
        (Kind::Histogram, Value::Histogram(_))
        | (Kind::Exponential, Value::Exponential(_))
        | (Kind::Summary, Value::Summary(_)) => true,
        _ => false,
    }
}
