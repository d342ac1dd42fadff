//! Sets of rules: which can still change something, and which one item wakes.
#![forbid(unsafe_code)]

/// Rules by index, one bit each. Walking it gives them in the order in which they are tried.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSet(Vec<u64>);

impl RuleSet {
    /// The empty set of a plan with so many rules. Only sets of one plan go together.
    pub fn of(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(64)])
    }

    /// An empty set for the same plan.
    pub fn emptied(&self) -> Self {
        Self(vec![0; self.0.len()])
    }

    pub fn insert(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    pub fn remove(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word &= !(1 << (rule % 64));
        }
    }

    #[inline]
    pub fn contains(&self, rule: usize) -> bool {
        (self.0.get(rule / 64)).is_some_and(|word| word & 1 << (rule % 64) != 0)
    }

    /// Becomes a copy of `other`. Sets are a few words: a loop is faster than a call.
    #[inline]
    pub fn copy(&mut self, other: &Self) {
        for (word, copied) in self.0.iter_mut().zip(&other.0) {
            *word = *copied;
        }
    }

    #[inline]
    pub fn clear(&mut self) {
        self.0.fill(0);
    }

    #[inline]
    pub fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// Keeps what is also in `other`.
    #[inline]
    pub fn keep(&mut self, other: &Self) {
        for (word, kept) in self.0.iter_mut().zip(&other.0) {
            *word &= kept;
        }
    }

    pub fn meets(&self, other: &Self) -> bool {
        (self.0.iter().zip(&other.0)).any(|(word, other)| word & other != 0)
    }

    pub fn words(&self) -> usize {
        self.0.len()
    }

    /// The rules of one word, lowest first; the set may change meanwhile.
    #[inline]
    pub fn word(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        let word = self.0.get(at).copied().unwrap_or(0);
        members(word).map(move |bit| at * 64 + bit)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.words()).flat_map(|at| self.word(at))
    }
}

/// The numbers of the bits that are set, lowest first.
#[inline]
pub fn members(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let next = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(next)
    })
}
