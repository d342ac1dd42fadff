//! How values stand in a checkpoint: little-endian, lengths before what they count. What is read is checked, so that
//! no file, however damaged, makes a value that the store could not have made.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::exponential::{Buckets, Exponential, MAX_SCALE, MIN_SCALE};
use super::value::{Bounds, Histogram, Summary, Value};

/// More than any list has: buckets, bounds, quantiles.
const MAX_ITEMS: usize = 1 << 16;

/// Written to bytes and read from bytes; None where the bytes do not hold one.
pub trait Code: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Code for $number {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )*};
}

numbers!(u8, u32, u64, u128, i32, f64);

impl Code for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        match u8::take(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Code for Option<f64> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        self.unwrap_or(0.0).put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let known = bool::take(from)?;
        let number = f64::take(from)?;
        Some(known.then_some(number))
    }
}

impl<A: Code, B: Code> Code for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

pub fn put_text(text: &str, out: &mut Vec<u8>) {
    (text.len() as u32).put(out);
    out.extend_from_slice(text.as_bytes());
}

pub fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = u32::take(from)? as usize;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    std::str::from_utf8(text).ok()
}

/// Text that stands in a line of the page.
pub fn take_line<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    take_text(from).filter(|text| !text.contains('\n'))
}

fn put_all<T: Code>(items: &[T], out: &mut Vec<u8>) {
    (items.len() as u32).put(out);
    items.iter().for_each(|item| item.put(out));
}

fn take_all<T: Code>(from: &mut &[u8]) -> Option<Vec<T>> {
    let length = u32::take(from)? as usize;
    if length > MAX_ITEMS {
        return None;
    }
    (0..length).map(|_| T::take(from)).collect()
}

mod tag {
    pub const NUMBER: u8 = 0;
    pub const HISTOGRAM: u8 = 1;
    pub const EXPONENTIAL: u8 = 2;
    pub const SUMMARY: u8 = 3;
    /// A histogram whose bounds stand elsewhere.
    pub const COUNTS: u8 = 4;
}

impl Code for Value {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                tag::NUMBER.put(out);
                number.put(out);
            }
            Self::Histogram(histogram) => {
                tag::HISTOGRAM.put(out);
                put_all(&histogram.bounds.values, out);
                put_counts(histogram, out);
            }
            Self::Exponential(exponential) => {
                tag::EXPONENTIAL.put(out);
                put_exponential(exponential, out);
            }
            Self::Summary(summary) => {
                tag::SUMMARY.put(out);
                put_all(&summary.quantiles, out);
                (summary.count, summary.sum).put(out);
            }
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        match u8::take(from)? {
            tag::NUMBER => f64::take(from).map(Self::Number),
            tag::HISTOGRAM => {
                let bounds = Arc::new(Bounds::new(take_all(from)?)?);
                take_counts(bounds, from).map(Self::Histogram)
            }
            tag::EXPONENTIAL => {
                take_exponential(from).map(|taken| Self::Exponential(Box::new(taken)))
            }
            tag::SUMMARY => take_summary(from).map(|taken| Self::Summary(Box::new(taken))),
            _ => None,
        }
    }
}

/// As `Value::put`, without the bounds of a histogram, which are known from the last time.
pub fn put_next(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Histogram(histogram) => {
            tag::COUNTS.put(out);
            put_counts(histogram, out);
        }
        other => other.put(out),
    }
}

/// What `put_next` wrote, after `last`.
pub fn take_next(last: Option<&Value>, from: &mut &[u8]) -> Option<Value> {
    match (from.first()?, last) {
        (&tag::COUNTS, Some(Value::Histogram(last))) => {
            u8::take(from)?;
            take_counts(Arc::clone(&last.bounds), from).map(Value::Histogram)
        }
        _ => Value::take(from),
    }
}

fn put_counts(histogram: &Histogram, out: &mut Vec<u8>) {
    put_all(&histogram.counts, out);
    histogram.count.put(out);
    histogram.sum.put(out);
}

fn take_counts(bounds: Arc<Bounds>, from: &mut &[u8]) -> Option<Histogram> {
    let counts: Vec<u64> = take_all(from)?;
    let (count, sum) = <(u64, Option<f64>)>::take(from)?;
    let fits = counts.len() == bounds.values.len() + 1 && can_add_up(&[&counts]);
    (fits && is_finite(sum)).then(|| Histogram {
        bounds,
        counts: counts.into(),
        count,
        sum,
    })
}

fn put_exponential(exponential: &Exponential, out: &mut Vec<u8>) {
    exponential.scale.put(out);
    exponential.zero_threshold.put(out);
    exponential.zero_count.put(out);
    for buckets in [&exponential.positive, &exponential.negative] {
        buckets.offset.put(out);
        put_all(&buckets.counts, out);
    }
    exponential.count.put(out);
    exponential.sum.put(out);
}

fn take_exponential(from: &mut &[u8]) -> Option<Exponential> {
    let scale = i32::take(from).filter(|scale| (MIN_SCALE..=MAX_SCALE).contains(scale))?;
    let zero_threshold = f64::take(from).filter(|zero| zero.is_finite() && *zero >= 0.0)?;
    let zero_count = u64::take(from)?;
    let mut buckets = || Buckets::new(scale, i32::take(from)?, take_all(from)?);
    let (positive, negative) = (buckets()?, buckets()?);
    let (count, sum) = <(u64, Option<f64>)>::take(from)?;
    let all: [&[u64]; 3] = [&positive.counts, &negative.counts, &[zero_count]];
    if !can_add_up(&all) || !is_finite(sum) {
        return None;
    }
    let mut taken = Exponential {
        scale,
        zero_threshold,
        zero_count,
        positive,
        negative,
        count,
        sum,
    };
    taken.fit();
    Some(taken)
}

fn take_summary(from: &mut &[u8]) -> Option<Summary> {
    let quantiles: Vec<(f64, f64)> = take_all(from)?;
    let (count, sum) = <(u64, f64)>::take(from)?;
    let inside = quantiles.iter().all(|(q, _)| (0.0..=1.0).contains(q));
    (inside && sum.is_finite()).then_some(Summary {
        quantiles,
        count,
        sum,
    })
}

fn can_add_up(counts: &[&[u64]]) -> bool {
    let mut all = counts.iter().flat_map(|part| part.iter());
    all.try_fold(0u64, |sum, count| sum.checked_add(*count))
        .is_some()
}

fn is_finite(sum: Option<f64>) -> bool {
    sum.is_none_or(f64::is_finite)
}
