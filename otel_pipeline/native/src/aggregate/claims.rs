//! What is kept of an item beside its slots until it is counted: only of items that some derivation selects, or that
//! have an attribute which some derivation could still need.
#![forbid(unsafe_code)]

use super::intern::{ABSENT, Symbol};
use super::select::Mask;

/// One thing that is kept. Sixteen bytes; most items have none.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The position of its item in the trace; claims stand in this order.
    pub record: u32,
    pub place: u32,
    pub bits: u64,
}

/// Places below this are texts (their symbol), those from here on numbers (bits of an f64).
pub const NUMBERS: u32 = 1 << 16;
/// The derivations whose selectors hold: the low half, and at the next place the high one.
pub const SELECTED: u32 = 1 << 17;
/// What the item tells of a model request: the handle that the ledger of `usage` gave.
pub const USAGE: u32 = SELECTED + 2;

/// Texts and numbers of one item; what is over is left out, and counted.
pub const MAX_CLAIMS: usize = 32;

impl Claim {
    pub fn text(place: u32, symbol: Symbol) -> Self {
        Self::new(place, u64::from(symbol))
    }

    pub fn number(place: u32, number: f64) -> Self {
        Self::new(place, number.to_bits())
    }

    pub fn usage(handle: u64) -> Self {
        Self::new(USAGE, handle)
    }

    /// The claims that say which derivations are selected.
    pub fn selected(mask: Mask) -> [Self; 2] {
        [
            Self::new(SELECTED, mask as u64),
            Self::new(SELECTED + 1, (mask >> 64) as u64),
        ]
    }

    fn new(place: u32, bits: u64) -> Self {
        let record = 0;
        Self {
            record,
            place,
            bits,
        }
    }

    /// The label value that it holds, if it is a text.
    pub fn symbol(&self) -> Option<Symbol> {
        (self.place < NUMBERS).then_some(self.bits as Symbol)
    }
}

/// The claims of one item.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claims<'a>(pub &'a [Claim]);

impl Claims<'_> {
    #[inline]
    fn bits(self, place: u32) -> Option<u64> {
        let claim = self.0.iter().find(|claim| claim.place == place)?;
        Some(claim.bits)
    }

    pub fn text_at(self, place: u32) -> Symbol {
        self.bits(place).map_or(ABSENT, |bits| bits as Symbol)
    }

    pub fn number_at(self, place: u32) -> Option<f64> {
        self.bits(place).map(f64::from_bits)
    }

    /// The handle of what it tells of a model request.
    pub fn usage(self) -> Option<u64> {
        self.bits(USAGE)
    }

    #[inline]
    pub fn selected(self) -> Mask {
        if self.0.is_empty() {
            return 0;
        }
        let half = |place| Mask::from(self.bits(place).unwrap_or(0));
        half(SELECTED) | half(SELECTED + 1) << 64
    }
}
