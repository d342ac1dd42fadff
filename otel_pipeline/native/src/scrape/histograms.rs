//! Reads `Histogram` messages of pages of protobuf: spans and deltas become dense buckets.
#![forbid(unsafe_code)]

use super::families::{MALFORMED, double, exemplar, exemplars, timestamp};
use super::sample::{Buckets, Exemplar, Native};
use super::text::Result;
use super::write::whole;
use crate::wire::{Value, fields, varint};

/// Buckets of one sign that a native histogram may have, the empty ones between them included.
const MAX_BUCKETS: usize = 1 << 14;
/// Schemas whose buckets grow by a constant factor.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// A `Histogram` message: classic, native, or both.
#[derive(Default)]
pub struct Histogram<'p> {
    pub count: f64,
    pub sum: f64,
    /// `Bucket` messages.
    pub buckets: Vec<&'p [u8]>,
    pub created_ns: u64,
    schema: i32,
    zero_threshold: f64,
    zero_count: f64,
    negative: Spans,
    positive: Spans,
    /// `Exemplar` messages of a native one.
    exemplars: Vec<&'p [u8]>,
}

/// Buckets of one sign: neighbours in spans, counted whole by what each differs from the one before, or as floats.
#[derive(Default)]
struct Spans {
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
    floats: Vec<f64>,
}

impl<'p> Histogram<'p> {
    pub fn read(body: &'p [u8]) -> Result<Self> {
        let mut read = Self::default();
        for field in fields(body) {
            let field = field.map_err(|_| MALFORMED)?;
            let value = field.value;
            match field.number {
                1 if read.count == 0.0 => read.count = value.number() as f64,
                2 => read.sum = double(field),
                3 => read.buckets.push(value.bytes()),
                4 if double(field) != 0.0 => read.count = double(field),
                5 => read.schema = signed(value.number()) as i32,
                6 => read.zero_threshold = double(field),
                7 if read.zero_count == 0.0 => read.zero_count = value.number() as f64,
                8 if double(field) != 0.0 => read.zero_count = double(field),
                9 => read.negative.span(value.bytes())?,
                10 => read.negative.delta(value)?,
                11 => read.negative.float(value)?,
                12 => read.positive.span(value.bytes())?,
                13 => read.positive.delta(value)?,
                14 => read.positive.float(value)?,
                15 => read.created_ns = timestamp(value.bytes()),
                16 => read.exemplars.push(value.bytes()),
                _ => {}
            }
        }
        Ok(read)
    }

    /// As Prometheus tells; an empty native histogram has a span without buckets.
    pub fn is_native(&self) -> bool {
        let spans = !self.positive.spans.is_empty() || !self.negative.spans.is_empty();
        spans || self.zero_threshold > 0.0 || self.zero_count > 0.0
    }

    pub fn native(&self) -> Result<Native> {
        if !SCHEMAS.contains(&self.schema) {
            return Err("invalid_schema");
        }
        Ok(Native {
            scale: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: whole(self.zero_count)?,
            positive: self.positive.buckets()?,
            negative: self.negative.buckets()?,
            count: whole(self.count)?,
            sum: self.sum,
        })
    }

    /// Those of the native histogram, else those that stand at classic buckets.
    pub fn all_exemplars(&self) -> Result<Vec<Exemplar>> {
        if !self.exemplars.is_empty() {
            return self.exemplars.iter().map(|body| exemplar(body)).collect();
        }
        let mut found = Vec::new();
        for bucket in &self.buckets {
            found.append(&mut exemplars(bucket, 3)?);
        }
        Ok(found)
    }
}

impl Spans {
    fn span(&mut self, body: &[u8]) -> Result<()> {
        let (mut offset, mut length) = (0, 0);
        for field in fields(body) {
            let field = field.map_err(|_| MALFORMED)?;
            match field.number {
                1 => offset = signed(field.value.number()) as i32,
                2 => length = field.value.number() as u32,
                _ => {}
            }
        }
        self.spans.push((offset, length));
        (self.spans.len() <= MAX_BUCKETS)
            .then_some(())
            .ok_or("too_many_buckets")
    }

    fn delta(&mut self, value: Value<'_>) -> Result<()> {
        match value {
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    let (number, rest) = varint(packed).map_err(|_| MALFORMED)?;
                    packed = rest;
                    self.deltas.push(signed(number));
                }
            }
            one => self.deltas.push(signed(one.number())),
        }
        let fits = self.deltas.len() <= MAX_BUCKETS;
        fits.then_some(()).ok_or("too_many_buckets")
    }

    fn float(&mut self, value: Value<'_>) -> Result<()> {
        match value {
            Value::Bytes(packed) => {
                let words = packed.chunks_exact(8).flat_map(<[u8; 8]>::try_from);
                self.floats
                    .extend(words.map(u64::from_le_bytes).map(f64::from_bits));
            }
            one => self.floats.push(f64::from_bits(one.number())),
        }
        let fits = self.floats.len() <= MAX_BUCKETS;
        fits.then_some(()).ok_or("too_many_buckets")
    }

    /// All buckets from the first to the last; those of OTLP have an index that is one lower.
    fn buckets(&self) -> Result<Buckets> {
        const INVALID: &str = "invalid_buckets";
        let mut given = self.counts()?.into_iter();
        let (mut out, mut offset, mut next) = (Vec::new(), None, 0i64);
        for (gap, length) in &self.spans {
            let begin = next + i64::from(*gap);
            next = begin + i64::from(*length);
            if *length == 0 {
                continue;
            }
            let first = *offset.get_or_insert(begin);
            let end = usize::try_from(next - first).map_err(|_| INVALID)?;
            let empty = usize::try_from(begin - first).map_err(|_| INVALID)?;
            if end > MAX_BUCKETS {
                return Err("too_many_buckets");
            }
            if empty < out.len() {
                return Err(INVALID);
            }
            out.resize(empty, 0);
            out.extend(given.by_ref().take(end - empty));
            if out.len() != end {
                return Err(INVALID);
            }
        }
        if given.next().is_some() {
            return Err(INVALID);
        }
        let offset = i32::try_from(offset.unwrap_or(1) - 1).map_err(|_| INVALID)?;
        Ok(Buckets {
            offset,
            counts: out,
        })
    }

    fn counts(&self) -> Result<Vec<u64>> {
        if !self.floats.is_empty() {
            return self.floats.iter().copied().map(whole).collect();
        }
        let mut count = 0i64;
        let absolute = |delta: &i64| {
            count = count.checked_add(*delta).ok_or("invalid_buckets")?;
            u64::try_from(count).map_err(|_| "invalid_buckets")
        };
        self.deltas.iter().map(absolute).collect()
    }
}

/// The number of a zigzag varint.
fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
