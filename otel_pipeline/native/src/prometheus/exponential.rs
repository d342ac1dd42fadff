//! Exponential histograms: bucket i of scale s holds values in (base^i, base^(i+1)], base = 2^(2^-s).
//! Source: OTLP data model "ExponentialHistogram"; Prometheus native histograms have the same buckets, one index higher.
#![forbid(unsafe_code)]

use super::value::{Added, added_sums};

/// Scales that Prometheus' native histograms have.
pub const MIN_SCALE: i32 = -4;
pub const MAX_SCALE: i32 = 8;
/// Buckets of one sign; a wider range is shown with wider buckets. At `MIN_SCALE` all doubles fit.
const MAX_BUCKETS: usize = 160;
/// Exponents of 2 between which all doubles lie.
const EXPONENTS: std::ops::RangeInclusive<i64> = -1075..=1024;

/// The buckets of one sign, from the first that is not empty to the last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets {
    pub offset: i32,
    pub counts: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Exponential {
    /// `schema` in Prometheus; from -4 to 8.
    pub scale: i32,
    pub zero_threshold: f64,
    pub zero_count: u64,
    pub positive: Buckets,
    pub negative: Buckets,
    pub count: u64,
    pub sum: Option<f64>,
}

impl Buckets {
    /// None where a bucket lies beyond all doubles. `scale` is of the buckets as they are sent.
    pub fn new(scale: i32, offset: i32, counts: Vec<u64>) -> Option<Self> {
        let Some(first) = counts.iter().position(|count| *count != 0) else {
            return Some(Self::default());
        };
        let last = counts.iter().rposition(|count| *count != 0)?;
        let exponent = |index: usize| -> Option<i64> {
            let index = i64::from(offset) + i64::try_from(index).ok()?;
            Some(match scale {
                0.. => index >> scale.min(62),
                _ => index.checked_mul(1 << scale.unsigned_abs().min(20))?,
            })
        };
        let inside = EXPONENTS.contains(&exponent(first)?) && EXPONENTS.contains(&exponent(last)?);
        inside.then(|| Self {
            offset: offset.saturating_add(first as i32),
            counts: counts.into_iter().take(last + 1).skip(first).collect(),
        })
    }

    fn end(&self) -> i32 {
        self.offset.saturating_add(self.counts.len() as i32)
    }

    fn get(&self, index: i32) -> u64 {
        let at = usize::try_from(i64::from(index) - i64::from(self.offset));
        at.ok()
            .and_then(|at| self.counts.get(at))
            .copied()
            .unwrap_or(0)
    }

    fn indexed(&self) -> impl Iterator<Item = (i32, u64)> {
        (self.offset..).zip(self.counts.iter().copied())
    }

    /// Each bucket becomes part of the one that is 2^`steps` times as wide.
    fn downscale(&mut self, steps: u32) {
        if steps == 0 || self.counts.is_empty() {
            return;
        }
        let steps = steps.min(31);
        let offset = self.offset >> steps;
        let last = (self.end() - 1) >> steps;
        let mut counts = vec![0u64; (last - offset + 1).max(0) as usize];
        for (index, count) in self.indexed() {
            if let Some(total) = counts.get_mut(((index >> steps) - offset) as usize) {
                *total = total.saturating_add(count);
            }
        }
        *self = Self { offset, counts };
    }

    /// How many buckets both together take.
    fn span(&self, other: &Self) -> usize {
        match (self.counts.is_empty(), other.counts.is_empty()) {
            (true, _) => other.counts.len(),
            (_, true) => self.counts.len(),
            _ => (self.end().max(other.end()) - self.offset.min(other.offset)) as usize,
        }
    }

    fn add(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        if self.counts.is_empty() {
            self.clone_from(other);
            return;
        }
        let offset = self.offset.min(other.offset);
        if other.offset < self.offset || other.end() > self.end() {
            let mut counts = vec![0; self.span(other)];
            for (index, count) in self.indexed() {
                if let Some(slot) = counts.get_mut((index - offset) as usize) {
                    *slot = count;
                }
            }
            *self = Self { offset, counts };
        }
        for (index, count) in other.indexed() {
            if let Some(total) = self.counts.get_mut((index - self.offset) as usize) {
                *total = total.saturating_add(count);
            }
        }
    }

    /// Prometheus' spans (how many buckets are skipped, and how many follow) and the step from each count to the next.
    /// Two empty buckets take less than another span.
    pub fn spans(&self) -> (Vec<(i32, u32)>, Vec<i64>) {
        let (mut spans, mut steps): (Vec<(i32, u32)>, Vec<i64>) = (Vec::new(), Vec::new());
        let (mut end, mut last) = (0, 0);
        for (index, count) in self.indexed().filter(|(_, count)| *count != 0) {
            let index = index.saturating_add(1);
            let skipped = index.saturating_sub(end);
            match spans.last_mut() {
                Some((_, length)) if skipped <= 2 => {
                    for _ in 0..skipped {
                        steps.push(-std::mem::take(&mut last));
                    }
                    *length += skipped.unsigned_abs() + 1;
                }
                _ => spans.push((skipped, 1)),
            }
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            steps.push(count - last);
            (end, last) = (index.saturating_add(1), count);
        }
        (spans, steps)
    }

    fn gain(&self, last: &Self) -> Self {
        let counts = self
            .indexed()
            .map(|(index, count)| count.saturating_sub(last.get(index)));
        Self {
            offset: self.offset,
            counts: counts.collect(),
        }
    }

    /// Takes out the buckets that lie within `threshold` of zero, and gives what they held.
    fn cut(&mut self, scale: i32, threshold: f64) -> u64 {
        let inside = |index: i32| upper_bound(scale, index) <= threshold;
        let cut = self
            .indexed()
            .take_while(|(index, _)| inside(*index))
            .count();
        self.offset = self.offset.saturating_add(cut as i32);
        self.counts.drain(..cut).sum()
    }
}

/// The upper bound of bucket `index`, inclusive; infinite where no double is that large.
pub fn upper_bound(scale: i32, index: i32) -> f64 {
    let exponent = (f64::from(index) + 1.0) * f64::from(-scale).exp2();
    exponent.exp2()
}

impl Exponential {
    /// How many buckets both signs have.
    pub fn buckets(&self) -> usize {
        self.positive.counts.len() + self.negative.counts.len()
    }

    /// Makes the buckets as wide as Prometheus needs them at least, and as the limit needs them.
    pub fn fit(&mut self) {
        self.downscale_to(MAX_SCALE);
        while self.scale > MIN_SCALE
            && self.positive.counts.len().max(self.negative.counts.len()) > MAX_BUCKETS
        {
            self.downscale_to(self.scale - 1);
        }
    }

    fn downscale_to(&mut self, scale: i32) {
        let steps = u32::try_from(self.scale.saturating_sub(scale)).unwrap_or(0);
        self.positive.downscale(steps);
        self.negative.downscale(steps);
        self.scale = self.scale.min(scale);
    }

    /// Makes the zero bucket as wide as `threshold`, where it is narrower.
    fn widen_zero(&mut self, threshold: f64) {
        if threshold <= self.zero_threshold {
            return;
        }
        self.zero_threshold = threshold;
        let cut = self.positive.cut(self.scale, threshold);
        let cut = cut.saturating_add(self.negative.cut(self.scale, threshold));
        self.zero_count = self.zero_count.saturating_add(cut);
    }

    /// `other` with buckets as wide as this one's, or this one's with the other's: both come out alike.
    fn align(&mut self, other: &Self) -> Self {
        let mut other = other.clone();
        let scale = self.scale.min(other.scale);
        self.downscale_to(scale);
        other.downscale_to(scale);
        other.widen_zero(self.zero_threshold);
        self.widen_zero(other.zero_threshold);
        other
    }

    /// True where the count, or that of any bucket, went down.
    pub fn is_below(&self, last: &Self) -> bool {
        let mut now = self.clone();
        let last = now.align(last);
        let fell = |now: &Buckets, last: &Buckets| {
            last.indexed().any(|(index, count)| now.get(index) < count)
        };
        self.count < last.count
            || now.zero_count < last.zero_count
            || fell(&now.positive, &last.positive)
            || fell(&now.negative, &last.negative)
    }

    pub fn gain(&self, last: &Self) -> Self {
        let mut now = self.clone();
        let last = now.align(last);
        Self {
            positive: now.positive.gain(&last.positive),
            negative: now.negative.gain(&last.negative),
            zero_count: now.zero_count.saturating_sub(last.zero_count),
            count: now.count.saturating_sub(last.count),
            sum: now.sum.zip(last.sum).map(|(now, last)| now - last),
            ..now
        }
    }

    pub fn add(&mut self, gain: &Self) -> Added {
        let (Some(count), Some(sum)) = (
            self.count.checked_add(gain.count),
            added_sums(self.sum, gain.sum),
        ) else {
            return Added::Not;
        };
        let mut gain = self.align(gain);
        let too_wide = |a: &Self, b: &Self| {
            let span = a
                .positive
                .span(&b.positive)
                .max(a.negative.span(&b.negative));
            span > MAX_BUCKETS
        };
        while self.scale > MIN_SCALE && too_wide(self, &gain) {
            let scale = self.scale - 1;
            self.downscale_to(scale);
            gain.downscale_to(scale);
        }
        (self.count, self.sum) = (count, sum);
        self.zero_count = self.zero_count.saturating_add(gain.zero_count);
        self.positive.add(&gain.positive);
        self.negative.add(&gain.negative);
        Added::Exactly
    }

    /// The same buckets with nothing in them.
    pub fn zero(&self) -> Self {
        Self {
            zero_count: 0,
            positive: Buckets::default(),
            negative: Buckets::default(),
            count: 0,
            sum: self.sum.map(|_| 0.0),
            ..*self
        }
    }

    /// Whether Prometheus takes it as a native histogram: counts that are signed there, and that add up.
    pub fn is_native(&self) -> bool {
        let counts = self.positive.counts.iter().chain(&self.negative.counts);
        let total = counts.copied().try_fold(self.zero_count, |sum, count| {
            sum.checked_add(count)
                .filter(|_| i64::try_from(count).is_ok())
        });
        total == Some(self.count) && (MIN_SCALE..=MAX_SCALE).contains(&self.scale)
    }

    /// Classic buckets: upper bound and how many observations are not above it, without the one of +Inf. A negative
    /// bucket's bound is its end nearer to zero.
    pub fn classic(&self) -> Vec<(f64, u64)> {
        let mut classic = Vec::with_capacity(self.buckets() + 1);
        let mut total = 0u64;
        let negative: Vec<(i32, u64)> = self.negative.indexed().collect();
        for (index, count) in negative.into_iter().rev() {
            total = total.saturating_add(count);
            classic.push((-upper_bound(self.scale, index - 1), total));
        }
        total = total.saturating_add(self.zero_count);
        classic.push((self.zero_threshold, total));
        for (index, count) in self.positive.indexed() {
            total = total.saturating_add(count);
            classic.push((upper_bound(self.scale, index), total));
        }
        classic.retain(|(bound, _)| bound.is_finite());
        classic.dedup_by(|next, last| {
            next.0 <= last.0 && {
                last.1 = next.1;
                true
            }
        });
        classic
    }
}
