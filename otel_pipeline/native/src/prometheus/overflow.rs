//! The series that adds up what the limits turn away.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::room::Room;
use super::series::{Kind, Point, Reason, Series, Step, reason};

/// The series that takes what the limits turn away. It sums cumulative streams, so the last point of each is kept.
pub struct Overflow {
    pub series: Series,
    streams: HashMap<u64, Stream>,
}

struct Stream {
    point: Point,
    ingested_ns: u64,
}

impl Overflow {
    /// `series` is its sum, at zero.
    pub fn new(series: Series) -> Self {
        Self {
            series,
            streams: HashMap::new(),
        }
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether a stream is being added up here.
    pub fn holds(&self, id: u64) -> bool {
        self.streams.contains_key(&id)
    }

    /// Adds what a stream has gained.
    ///
    /// A fresh stream brings all it has counted. One that began before this store, or that may have been here and
    /// expired, brings only what it gains from now on: the rest has been counted where it was shown.
    pub fn add(
        &mut self,
        room: &Room,
        id: u64,
        point: Point,
        now_ns: u64,
        kind: Kind,
    ) -> Result<(), Reason> {
        if !point.value.same_bounds(&self.series.point.value) {
            return Err(reason::BOUNDS_CHANGED);
        }
        let total = &mut self.series.point;
        let time_ns = total.time_ns.max(point.time_ns);
        if let Some(stream) = self.streams.get_mut(&id) {
            let last = match stream.point.follow(&point, kind)? {
                Step::Continues => Some(&stream.point.value),
                Step::Resets => None,
            };
            total.value.add_gain(&point.value, last);
            stream.point.replace(point);
            stream.ingested_ns = now_ns;
        } else {
            if !room.take_stream() {
                return Err(reason::OVERFLOW_FULL);
            }
            if room.is_fresh(point.start_ns, now_ns) {
                total.value.add_gain(&point.value, None);
            }
            let stream = Stream {
                point,
                ingested_ns: now_ns,
            };
            self.streams.insert(id, stream);
        }
        total.time_ns = time_ns;
        self.series.ingested_ns = now_ns;
        Ok(())
    }

    /// Forgets streams that are silent; its sum stays as long as one is left.
    pub fn expire(&mut self, room: &Room, now_ns: u64) {
        let before = self.streams.len();
        self.streams
            .retain(|_, stream| !room.is_expired(stream.ingested_ns, now_ns));
        room.give_back_streams(before - self.streams.len());
    }
}
