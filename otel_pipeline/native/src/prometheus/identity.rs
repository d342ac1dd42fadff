//! Names streams by 128-bit hashes under secret seeds, so that neither chance nor senders can make two of them one.
//! Seeds can be kept, so that a stream is known again after a restart.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hasher, RandomState};

use super::stream::StreamId;
use crate::aggregate::hash::Seeded;

#[derive(Clone, Copy)]
pub struct Identity {
    pub seeds: [u64; 4],
}

impl Identity {
    pub fn random() -> Self {
        let random = RandomState::new();
        Self {
            seeds: [0u8, 1, 2, 3].map(|mark| random.hash_one(mark)),
        }
    }

    /// Hash of some bytes.
    #[inline]
    pub fn of(&self, bytes: &[u8]) -> StreamId {
        let [state, key, other_state, other_key] = self.seeds;
        let mut low = Seeded::new(state, key).build_hasher();
        let mut high = Seeded::new(other_state, other_key).build_hasher();
        low.write(bytes);
        high.write(bytes);
        StreamId::from(low.finish()) | StreamId::from(high.finish()) << 64
    }

    /// Hash of some messages whose order says nothing.
    #[inline]
    pub fn of_all<'a>(&self, bodies: impl Iterator<Item = &'a [u8]>) -> StreamId {
        bodies.fold(0, |sum, body| sum.wrapping_add(self.of(body)))
    }

    /// Hash of hashes in this order.
    pub fn of_parts(&self, parts: &[StreamId]) -> StreamId {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
        self.of(&bytes)
    }
}
