//! A fast hasher with random seeds: keys come from senders, who must not be able to choose keys that collide.
#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

pub type HashMap<K, V> = std::collections::HashMap<K, V, Seeded>;

/// Drawn once for the process: drawing costs more than hashing.
static SEEDS: OnceLock<Seeded> = OnceLock::new();

/// Builds hashers that share two random seeds.
#[derive(Clone, Copy)]
pub struct Seeded {
    state: u64,
    key: u64,
}

impl Seeded {
    /// Seeds of one's own, so that hashes can outlive the process.
    pub fn new(state: u64, key: u64) -> Self {
        Self {
            state,
            key: key | 1,
        }
    }
}

impl Default for Seeded {
    fn default() -> Self {
        *SEEDS.get_or_init(|| {
            let random = RandomState::new();
            Self {
                state: random.hash_one(0u8),
                key: random.hash_one(1u8) | 1,
            }
        })
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folded;

    #[inline]
    fn build_hasher(&self) -> Folded {
        Folded {
            state: self.state,
            key: self.key,
        }
    }
}

/// Multiplies 64 by 64 bits and folds the halves of the product; the factors are hidden by the seeds.
#[derive(Clone)]
pub struct Folded {
    state: u64,
    key: u64,
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

/// Up to 16 bytes as two numbers, which overlap where there are fewer; read so, no bytes are copied.
#[inline]
fn ends(bytes: &[u8]) -> u128 {
    let (low, high) = match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => (
                u32::from_le_bytes(*first).into(),
                u32::from_le_bytes(*last).into(),
            ),
            _ => (
                bytes
                    .iter()
                    .fold(0, |number, byte| number << 8 | u64::from(*byte)),
                0,
            ),
        },
    };
    u128::from(low) | u128::from(high) << 64
}

impl Hasher for Folded {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            self.write_u128(ends(block));
        }
        self.state = self.state.wrapping_add(bytes.len() as u64);
        self.write_u128(ends(blocks.remainder()));
    }

    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.state = fold(self.state ^ value, self.key);
    }

    #[inline]
    fn write_u128(&mut self, value: u128) {
        self.state = fold(self.state ^ value as u64, self.key ^ (value >> 64) as u64);
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}
