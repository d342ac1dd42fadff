//! What one series can hold: a number, a histogram with bounds, an exponential histogram or a summary; how values are
//! compared, subtracted and added up.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::exponential::Exponential;
use super::number::bound_text;

/// Upper bounds of a histogram's buckets, without the last (+Inf), with their `le` texts for both formats.
#[derive(Debug)]
pub struct Bounds {
    pub values: Vec<f64>,
    pub text: Vec<String>,
    pub openmetrics: Vec<String>,
}

impl Bounds {
    /// None unless finite and strictly increasing.
    pub fn new(values: Vec<f64>) -> Option<Self> {
        let finite = values.iter().all(|bound| bound.is_finite());
        let increasing = values.is_sorted_by(|a, b| a < b);
        let le = |openmetrics| {
            let texts = values.iter().map(|bound| bound_text(*bound, openmetrics));
            texts.chain(["+Inf".to_owned()]).collect()
        };
        let (text, openmetrics) = (le(false), le(true));
        (finite && increasing).then_some(Self {
            values,
            text,
            openmetrics,
        })
    }
}

#[derive(Debug, Clone)]
pub struct Histogram {
    pub bounds: Arc<Bounds>,
    /// One for each bound and one for +Inf, not accumulated.
    pub counts: Box<[u64]>,
    pub count: u64,
    pub sum: Option<f64>,
}

#[derive(Debug, Clone)]
pub struct Summary {
    /// Quantile (0 to 1) and its value, ascending. Empty where summaries were added up: quantiles cannot be.
    pub quantiles: Vec<(f64, f64)>,
    pub count: u64,
    pub sum: f64,
}

#[derive(Debug, Clone)]
pub enum Value {
    Number(f64),
    Histogram(Histogram),
    Exponential(Box<Exponential>),
    Summary(Box<Summary>),
}

/// How a value was added to a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    Exactly,
    /// The total has other bounds: count and sum are exact, observations stand in the next bucket that has them all.
    Rebucketed,
    /// Not a finite number any more, or of another kind: nothing was added.
    Not,
}

impl Value {
    /// How many lines of a text page it takes: what Prometheus calls series.
    pub fn lines(&self) -> usize {
        match self {
            Self::Number(_) => 1,
            Self::Histogram(histogram) => histogram.counts.len() + 2,
            Self::Exponential(exponential) => exponential.buckets() + 4,
            Self::Summary(summary) => summary.quantiles.len() + 2,
        }
    }

    pub fn same_bounds(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Histogram(a), Self::Histogram(b)) => a.same_bounds(b),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// True where a counter, a bucket or a count went down. The sum may: observations can be negative.
    pub fn is_below(&self, last: &Self) -> bool {
        match (self, last) {
            (Self::Number(now), Self::Number(last)) => now < last,
            (Self::Histogram(now), Self::Histogram(last)) => {
                now.count < last.count || now.counts.iter().zip(&last.counts).any(|(a, b)| a < b)
            }
            (Self::Exponential(now), Self::Exponential(last)) => now.is_below(last),
            (Self::Summary(now), Self::Summary(last)) => now.count < last.count,
            _ => true,
        }
    }

    /// What this has gained over `last`, which has the same bounds and is not above.
    pub fn gain(&self, last: &Self) -> Self {
        match (self, last) {
            (Self::Number(now), Self::Number(last)) => Self::Number(now - last),
            (Self::Histogram(now), Self::Histogram(last)) => Self::Histogram(now.gain(last)),
            (Self::Exponential(now), Self::Exponential(last)) => {
                Self::Exponential(Box::new(now.gain(last)))
            }
            (Self::Summary(now), Self::Summary(last)) => Self::Summary(Box::new(Summary {
                quantiles: Vec::new(),
                count: now.count.saturating_sub(last.count),
                sum: now.sum - last.sum,
            })),
            _ => self.zero(),
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Number(number) => *number == 0.0,
            Self::Histogram(histogram) => histogram.count == 0,
            Self::Exponential(exponential) => exponential.count == 0,
            Self::Summary(summary) => summary.count == 0,
        }
    }

    /// Adds `gain` to this total.
    pub fn add(&mut self, gain: &Self) -> Added {
        match (self, gain) {
            (Self::Number(total), Self::Number(gain)) => {
                let sum = *total + gain;
                if !sum.is_finite() {
                    return Added::Not;
                }
                *total = sum;
                Added::Exactly
            }
            (Self::Histogram(total), Self::Histogram(gain)) => total.add(gain),
            (Self::Exponential(total), Self::Exponential(gain)) => total.add(gain),
            (Self::Summary(total), Self::Summary(gain)) => total.add(gain),
            _ => Added::Not,
        }
    }

    /// The same shape with nothing in it.
    pub fn zero(&self) -> Self {
        match self {
            Self::Number(_) => Self::Number(0.0),
            Self::Histogram(histogram) => Self::Histogram(Histogram {
                bounds: Arc::clone(&histogram.bounds),
                counts: vec![0; histogram.counts.len()].into(),
                count: 0,
                sum: histogram.sum.map(|_| 0.0),
            }),
            Self::Exponential(exponential) => Self::Exponential(Box::new(exponential.zero())),
            Self::Summary(_) => Self::Summary(Box::new(Summary {
                quantiles: Vec::new(),
                count: 0,
                sum: 0.0,
            })),
        }
    }
}

impl Histogram {
    fn same_bounds(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bounds, &other.bounds) || self.bounds.values == other.bounds.values
    }

    fn gain(&self, last: &Self) -> Self {
        let counts = self.counts.iter().zip(&last.counts);
        Self {
            bounds: Arc::clone(&self.bounds),
            counts: counts
                .map(|(now, last)| now.saturating_sub(*last))
                .collect(),
            count: self.count.saturating_sub(last.count),
            sum: self.sum.zip(last.sum).map(|(now, last)| now - last),
        }
    }

    fn add(&mut self, gain: &Self) -> Added {
        let (Some(count), Some(sum)) = (
            self.count.checked_add(gain.count),
            added_sums(self.sum, gain.sum),
        ) else {
            return Added::Not;
        };
        self.count = count;
        self.sum = sum;
        if self.same_bounds(gain) {
            for (total, gained) in self.counts.iter_mut().zip(&gain.counts) {
                *total = total.saturating_add(*gained);
            }
            return Added::Exactly;
        }
        let uppers = gain.bounds.values.iter().map(Some).chain([None]);
        for (upper, gained) in uppers.zip(&gain.counts) {
            let index = match upper {
                Some(upper) => self.bounds.values.partition_point(|bound| bound < upper),
                None => self.bounds.values.len(),
            };
            if let Some(total) = self.counts.get_mut(index) {
                *total = total.saturating_add(*gained);
            }
        }
        Added::Rebucketed
    }
}

impl Summary {
    fn add(&mut self, gain: &Self) -> Added {
        let sum = self.sum + gain.sum;
        let Some(count) = self.count.checked_add(gain.count) else {
            return Added::Not;
        };
        if !sum.is_finite() {
            return Added::Not;
        }
        self.quantiles.clear();
        (self.count, self.sum) = (count, sum);
        Added::Exactly
    }
}

/// The sum of two sums, missing where one of them is; None where it is not finite.
pub fn added_sums(total: Option<f64>, gain: Option<f64>) -> Option<Option<f64>> {
    match total.zip(gain).map(|(total, gain)| total + gain) {
        Some(sum) if !sum.is_finite() => None,
        sum => Some(sum),
    }
}
