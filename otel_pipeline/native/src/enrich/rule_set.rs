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

    /// Becomes a copy of `other`, in the room that it has.
    #[inline]
    pub fn copy(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
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

    /// The first rule at or after `from`.
    #[inline]
    pub fn next(&self, from: usize) -> Option<usize> {
        let mut at = from / 64;
        let mut word = self.0.get(at)? & (u64::MAX << (from % 64));
        while word == 0 {
            at += 1;
            word = *self.0.get(at)?;
        }
        Some(at * 64 + word.trailing_zeros() as usize)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let next = self.next(from)?;
            from = next + 1;
            Some(next)
        })
    }
}
