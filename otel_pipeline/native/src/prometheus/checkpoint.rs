//! What a store writes down for the one after it: frames, each of one family or of the store, appended to a file.
//!
//! ```text
//! file     "otel-pipeline checkpoint 2\n", then frames
//! frame    mark, length of the body (u32), checksum (u64), body
//! body     'S' shape, seeds, epoch, time; scrapers; targets
//!          'F' time, name, kind, suffix, unit, help of a family; then what changed of its series and streams
//! ```
//!
//! A series or stream stands whole once, under a number, and then with its next value. What changes together was mostly
//! written together, too: numbers that follow one another are told as the first and how many. A frame is taken under its
//! family's lock, so that the series and the streams behind it are of one moment; each says all there is to say, so that
//! later ones replace earlier ones.
#![forbid(unsafe_code)]

use super::codec::{Code, put_next, put_text};
use super::family::{Family, State, place};
use super::room::lock;
use super::series::{Change, Kind, Series};
use super::store::Store;
use super::stream::{Last, Stream, StreamId};
use super::value::Value;
use crate::aggregate::hash::Seeded;
use std::hash::{BuildHasher, Hasher};

/// What a file of any version begins with.
pub const MAGIC: &[u8] = b"otel-pipeline checkpoint ";
pub const VERSION: &[u8] = b"2\n";
pub const MARK: [u8; 4] = [0xF5, b'C', b'K', 0xF6];
/// Mark, length and checksum.
pub const FRAME_HEAD: usize = 16;
/// Any odd numbers: only chance is to be found out.
const CHECKSUM_SEEDS: (u64, u64) = (0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93);

pub mod body {
    pub const STORE: u8 = b'S';
    pub const FAMILY: u8 = b'F';
}

pub mod record {
    /// All of a series, with the number by which later records name it.
    pub const SERIES: u8 = 1;
    /// The next values of series that are numbers, the most frequent record: the first series, how many, the values.
    pub const NUMBERS: u8 = 2;
    /// The next value of anything else.
    pub const VALUE: u8 = 3;
    /// All of a stream but its times, with the number by which later records name it. Those behind plain series have
    /// none: they are as their series.
    pub const STREAM: u8 = 4;
    /// Time and moment of arrival of the next values, of which one batch has many.
    pub const TIMES: u8 = 5;
    /// Start, time and moment of arrival of the next streams.
    pub const STREAM_TIMES: u8 = 6;
    /// Streams that have no value and new times, as delta senders' have: the first stream, how many.
    pub const STREAMS: u8 = 7;
    /// The next values of streams that are numbers: the first stream, how many, the values.
    pub const STREAM_NUMBERS: u8 = 8;
}

/// The times that the next records of a frame have.
#[derive(Default)]
pub struct Times {
    pub series: (u64, u64),
    pub stream: (u64, (u64, u64)),
}

/// The record of numbers that follow one another, while it is being written.
#[derive(Default)]
struct Run {
    record: u8,
    /// Where its length stands.
    length_at: usize,
    length: u32,
    /// The number that would make it longer.
    next: u32,
}

impl Run {
    /// Begins the part of this number.
    #[inline]
    fn go_on(&mut self, record: u8, number: u32, out: &mut Vec<u8>) {
        if self.length == 0 || self.record != record || self.next != number {
            self.end(out);
            (record, number).put(out);
            (self.record, self.length_at) = (record, out.len());
            0u32.put(out);
        }
        self.length += 1;
        self.next = number.wrapping_add(1);
    }

    /// Must come before any other record.
    fn end(&mut self, out: &mut [u8]) {
        let length = out.get_mut(self.length_at..);
        if let Some(length) = length.and_then(|rest| rest.first_chunk_mut())
            && self.length > 0
        {
            *length = self.length.to_le_bytes();
        }
        self.length = 0;
    }
}

/// The flags of a series.
pub mod flag {
    pub const PLAIN: u8 = 1;
    pub const STALE: u8 = 2;
    pub const FRESH: u8 = 4;
    pub const OVERFLOW: u8 = 8;
    /// Of a plain series: its stream's last value is part of a sum.
    pub const LEAVES: u8 = 16;
}

/// What has changed since the last call, as frames; empty where nothing has. With `everything` a whole new file.
pub fn take_changes(store: &Store, everything: bool, now_ns: u64) -> Vec<u8> {
    let mut last = lock(&store.saved);
    let mut out = Vec::new();
    if everything {
        *last = 0;
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(VERSION);
        frame(&mut out, |out| put_store(store, true, now_ns, out));
    }
    for family in store.families() {
        let mut state = family.lock();
        frame(&mut out, |out| {
            put_family(&family, now_ns, out);
            let before = out.len();
            put_series(&mut state, everything, &mut last, out);
            put_streams(&mut state, everything, &mut last, out);
            out.len() > before
        });
    }
    frame(&mut out, |out| put_store(store, everything, now_ns, out));
    out
}

/// Whether bytes are what was written.
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = Seeded::new(CHECKSUM_SEEDS.0, CHECKSUM_SEEDS.1).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// A frame, or nothing where `body` says that there is nothing to say.
fn frame(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>) -> bool) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEAD]);
    if !body(out) {
        out.truncate(start);
        return;
    }
    let Some((head, body)) = out
        .get_mut(start..)
        .and_then(|frame| frame.split_at_mut_checked(FRAME_HEAD))
    else {
        return;
    };
    let length = (body.len() as u32).to_le_bytes();
    let sum = checksum(body).to_le_bytes();
    let parts = MARK.iter().chain(&length).chain(&sum);
    head.iter_mut()
        .zip(parts)
        .for_each(|(to, from)| *to = *from);
}

fn put_store(store: &Store, everything: bool, now_ns: u64, out: &mut Vec<u8>) -> bool {
    let mut changed = everything;
    body::STORE.put(out);
    out.extend_from_slice(&store.options.shape);
    let seeds = store.identity().seeds;
    seeds.iter().for_each(|seed| seed.put(out));
    (store.room.epoch_ns(), now_ns).put(out);
    for (number, slot) in lock(&store.scrapers).iter_mut().enumerate() {
        if slot.changed || (everything && !slot.name.is_empty()) {
            (changed, slot.changed) = (true, false);
            (true, number as u8).put(out);
            slot.since.put(out);
            put_text(&slot.name, out);
        }
    }
    false.put(out);
    for (key, target) in lock(&store.targets).iter_mut() {
        if target.changed || everything {
            (changed, target.changed) = (true, false);
            true.put(out);
            target.ingested_ns.put(out);
            put_text(key, out);
            put_text(&target.labels, out);
        }
    }
    false.put(out);
    changed
}

fn put_family(family: &Family, now_ns: u64, out: &mut Vec<u8>) {
    body::FAMILY.put(out);
    now_ns.put(out);
    put_text(&family.name, out);
    kind_code(family.kind).put(out);
    (!family.suffix.is_empty()).put(out);
    put_text(&family.unit, out);
    put_text(&family.help, out);
}

pub fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 2,
        Kind::Exponential => 3,
        Kind::Summary => 4,
        Kind::Unknown => 5,
        Kind::Info => 6,
        Kind::StateSet => 7,
    }
}

fn put_series(state: &mut State, everything: bool, last: &mut u32, out: &mut Vec<u8>) {
    let (mut times, mut run) = (Times::default(), Run::default());
    let streams = &state.streams;
    let leaves = |series: &Series| {
        let owner = streams.get(&series.owner);
        series.plain && owner.is_some_and(|owner| owner.leaves)
    };
    let series = state.series.iter_mut();
    let series = series.map(|(labels, series)| (Some(labels.as_ref()), series));
    let overflow = state.overflow.iter_mut().map(|series| (None, series));
    for (labels, series) in series.chain(overflow) {
        if everything {
            series.saved = 0;
        }
        match (series.saved, series.change) {
            (0, _) => {
                *last += 1;
                series.saved = *last;
                run.end(out);
                put_whole(labels, series, leaves(series), out);
            }
            (_, Change::Whole) => {
                run.end(out);
                put_whole(labels, series, leaves(series), out);
            }
            (_, Change::Value) => put_update(series, &mut times, &mut run, out),
            (_, Change::Nothing) => {}
        }
        series.change = Change::Nothing;
    }
    run.end(out);
}

fn put_whole(labels: Option<&str>, series: &Series, leaves: bool, out: &mut Vec<u8>) {
    let mut flags = 0;
    for (set, flag) in [
        (series.plain, flag::PLAIN),
        (series.stale, flag::STALE),
        (series.fresh, flag::FRESH),
        (labels.is_none(), flag::OVERFLOW),
        (leaves, flag::LEAVES),
    ] {
        flags |= if set { flag } else { 0 };
    }
    record::SERIES.put(out);
    series.saved.put(out);
    flags.put(out);
    series.owner.put(out);
    (series.point.start_ns, series.point.time_ns).put(out);
    (series.ingested_ns, (series.born, series.shown)).put(out);
    put_text(labels.unwrap_or_default(), out);
    series.point.value.put(out);
}

/// The part that runs for every series of a busy page.
#[inline]
fn put_update(series: &Series, times: &mut Times, run: &mut Run, out: &mut Vec<u8>) {
    let own = (series.point.time_ns, series.ingested_ns);
    if times.series != own {
        times.series = own;
        run.end(out);
        record::TIMES.put(out);
        own.put(out);
    }
    match &series.point.value {
        Value::Number(number) => {
            run.go_on(record::NUMBERS, series.saved, out);
            number.put(out);
        }
        other => {
            run.end(out);
            (record::VALUE, series.saved).put(out);
            put_next(other, out);
        }
    }
}

fn put_streams(state: &mut State, everything: bool, last: &mut u32, out: &mut Vec<u8>) {
    let State {
        series,
        overflow,
        streams,
        changed,
        ..
    } = state;
    let (mut times, mut run) = (Times::default(), Run::default());
    let mut put = |id: StreamId, stream: &mut Stream| {
        stream.changed = false;
        if stream.saved != 0 && !matches!(stream.last, Last::Value(_)) {
            put_stream_times(stream, &mut times, &mut run, out);
            return put_next_of_stream(stream, &mut run, out);
        }
        match place(series, overflow, stream.series) {
            Some(series) if !series.plain => {
                if stream.saved == 0 {
                    *last += 1;
                    stream.saved = *last;
                }
                put_stream_times(stream, &mut times, &mut run, out);
                run.end(out);
                put_stream(id, series.saved, stream, out);
            }
            _ => {}
        }
    };
    if everything {
        changed.clear();
        for (id, stream) in streams.iter_mut() {
            stream.saved = 0;
            put(*id, stream);
        }
    } else {
        for at in changed.drain(..) {
            if let Some((id, stream)) = streams.get_index_mut(at as usize) {
                put(*id, stream);
            }
        }
    }
    run.end(out);
}

fn put_stream_times(stream: &Stream, times: &mut Times, run: &mut Run, out: &mut Vec<u8>) {
    let own = (stream.start_ns, (stream.time_ns, stream.seen_ns));
    if times.stream != own {
        times.stream = own;
        run.end(out);
        record::STREAM_TIMES.put(out);
        own.put(out);
    }
}

/// Of a stream that stands there already.
#[inline]
fn put_next_of_stream(stream: &Stream, run: &mut Run, out: &mut Vec<u8>) {
    match &stream.last {
        Last::Number(number) => {
            run.go_on(record::STREAM_NUMBERS, stream.saved, out);
            number.put(out);
        }
        _ => run.go_on(record::STREAMS, stream.saved, out),
    }
}

fn put_stream(id: StreamId, series: u32, stream: &Stream, out: &mut Vec<u8>) {
    (record::STREAM, stream.saved).put(out);
    id.put(out);
    series.put(out);
    stream.leaves.put(out);
    match &stream.last {
        Last::Nothing => false.put(out),
        Last::Number(number) => {
            true.put(out);
            Value::Number(*number).put(out);
        }
        Last::Value(value) => {
            true.put(out);
            value.put(out);
        }
    }
}
