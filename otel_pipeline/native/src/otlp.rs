//! Field numbers of the OTLP messages and the walk over resource, scope and item.
//! Source: opentelemetry-proto 1.11, `trace.proto`, `metrics.proto`, `logs.proto`, `common.proto`.
#![forbid(unsafe_code)]

use crate::wire::{
    Field, Result, Value, fields, put_message, put_varint, put_varint_field, zigzag,
};

/// The three signals; the outer message shapes are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "traces" => Some(Self::Traces),
            "metrics" => Some(Self::Metrics),
            "logs" => Some(Self::Logs),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// `ExportTraceServiceRequest.resource_spans` and its twins.
pub const RESOURCE_ITEMS: u32 = 1;
/// `ResourceSpans.resource`, `ScopeSpans.scope`.
pub const RESOURCE: u32 = 1;
pub const SCOPE: u32 = 1;
/// `ResourceSpans.scope_spans`, `ScopeSpans.spans` and their twins.
pub const SCOPE_ITEMS: u32 = 2;
pub const ITEMS: u32 = 2;
/// `ScopeSpans.schema_url` and its twins.
pub const SCOPE_SCHEMA_URL: u32 = 3;
/// `Resource.attributes`.
pub const RESOURCE_ATTRIBUTES: u32 = 1;

pub mod scope {
    pub const NAME: u32 = 1;
    pub const VERSION: u32 = 2;
    pub const ATTRIBUTES: u32 = 3;
}

pub mod span {
    pub const TRACE_ID: u32 = 1;
    pub const SPAN_ID: u32 = 2;
    pub const TRACE_STATE: u32 = 3;
    pub const PARENT_SPAN_ID: u32 = 4;
    pub const NAME: u32 = 5;
    pub const KIND: u32 = 6;
    pub const START: u32 = 7;
    pub const END: u32 = 8;
    pub const ATTRIBUTES: u32 = 9;
    pub const EVENTS: u32 = 11;
    pub const LINKS: u32 = 13;
    pub const STATUS: u32 = 15;
    pub const FLAGS: u32 = 16;
    /// `Status.message`, `Status.code`.
    pub const STATUS_MESSAGE: u32 = 2;
    pub const STATUS_CODE: u32 = 3;
    /// `Event.name`, `Event.attributes`.
    pub const EVENT_NAME: u32 = 2;
    pub const EVENT_ATTRIBUTES: u32 = 3;
}

pub mod log {
    pub const TIME: u32 = 1;
    pub const BODY: u32 = 5;
    pub const ATTRIBUTES: u32 = 6;
    pub const FLAGS: u32 = 8;
    pub const TRACE_ID: u32 = 9;
    pub const SPAN_ID: u32 = 10;
    pub const OBSERVED_TIME: u32 = 11;
    pub const EVENT_NAME: u32 = 12;
}

pub mod metric {
    pub const NAME: u32 = 1;
    pub const DESCRIPTION: u32 = 2;
    pub const UNIT: u32 = 3;
    pub const GAUGE: u32 = 5;
    pub const SUM: u32 = 7;
    pub const HISTOGRAM: u32 = 9;
    pub const EXPONENTIAL_HISTOGRAM: u32 = 10;
    pub const SUMMARY: u32 = 11;
    pub const METADATA: u32 = 12;
    /// `Gauge.data_points` and its twins.
    pub const DATA_POINTS: u32 = 1;
    pub const TEMPORALITY: u32 = 2;
    pub const MONOTONIC: u32 = 3;
}

/// What all data points have in common.
pub mod point {
    pub const START_TIME: u32 = 2;
    pub const TIME: u32 = 3;
}

/// `NumberDataPoint`.
pub mod number_point {
    pub const DOUBLE: u32 = 4;
    pub const EXEMPLARS: u32 = 5;
    pub const INT: u32 = 6;
    pub const ATTRIBUTES: u32 = 7;
    pub const FLAGS: u32 = 8;
}

/// `ExponentialHistogramDataPoint`; what it does not name is as in `HistogramDataPoint`.
pub mod exponential_point {
    pub const ATTRIBUTES: u32 = 1;
    pub const COUNT: u32 = 4;
    pub const SUM: u32 = 5;
    pub const SCALE: u32 = 6;
    pub const ZERO_COUNT: u32 = 7;
    pub const POSITIVE: u32 = 8;
    pub const NEGATIVE: u32 = 9;
    pub const FLAGS: u32 = 10;
    pub const EXEMPLARS: u32 = 11;
    pub const ZERO_THRESHOLD: u32 = 14;
    /// `Buckets.offset`, `Buckets.bucket_counts`.
    pub const OFFSET: u32 = 1;
    pub const BUCKET_COUNTS: u32 = 2;
}

/// `SummaryDataPoint`.
pub mod summary_point {
    pub const COUNT: u32 = 4;
    pub const SUM: u32 = 5;
    pub const QUANTILES: u32 = 6;
    pub const ATTRIBUTES: u32 = 7;
    pub const FLAGS: u32 = 8;
    /// `ValueAtQuantile.quantile`, `ValueAtQuantile.value`.
    pub const QUANTILE: u32 = 1;
    pub const VALUE: u32 = 2;
}

/// `HistogramDataPoint`.
pub mod histogram_point {
    pub const COUNT: u32 = 4;
    pub const SUM: u32 = 5;
    pub const BUCKET_COUNTS: u32 = 6;
    pub const EXPLICIT_BOUNDS: u32 = 7;
    pub const EXEMPLARS: u32 = 8;
    pub const ATTRIBUTES: u32 = 9;
    pub const FLAGS: u32 = 10;
}

pub mod exemplar {
    pub const TIME: u32 = 2;
    pub const DOUBLE: u32 = 3;
    pub const SPAN_ID: u32 = 4;
    pub const TRACE_ID: u32 = 5;
    pub const INT: u32 = 6;
    pub const FILTERED_ATTRIBUTES: u32 = 7;
}

pub mod key_value {
    pub const KEY: u32 = 1;
    pub const VALUE: u32 = 2;
}

pub mod any {
    pub const STRING: u32 = 1;
    pub const BOOL: u32 = 2;
    pub const INT: u32 = 3;
    pub const DOUBLE: u32 = 4;
    pub const ARRAY: u32 = 5;
    pub const KVLIST: u32 = 6;
    pub const BYTES: u32 = 7;
}

/// An attribute value, borrowed. Source: `common.proto` AnyValue (a oneof: the last field wins).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnyValue<'a> {
    Empty,
    Str(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// The body of an `ArrayValue` message.
    Array(&'a [u8]),
    /// The body of a `KeyValueList` message.
    Kvlist(&'a [u8]),
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    /// Reads the body of an AnyValue message. Text of a checked batch is valid UTF-8; any other reads as "".
    #[inline]
    pub fn parse(body: &'a [u8]) -> Self {
        match body {
            [0x0a, length, bytes @ ..] if *length < 0x80 && bytes.len() == usize::from(*length) => {
                AnyValue::Str(text(bytes))
            }
            _ => Self::parse_any(body),
        }
    }

    fn parse_any(body: &'a [u8]) -> Self {
        let mut value = AnyValue::Empty;
        for field in fields(body).flatten() {
            value = match (field.number, field.value) {
                (any::STRING, Value::Bytes(bytes)) => AnyValue::Str(text(bytes)),
                (any::BOOL, Value::Varint(number)) => AnyValue::Bool(number != 0),
                (any::INT, Value::Varint(number)) => AnyValue::Int(number as i64),
                (any::DOUBLE, Value::Fixed64(bits)) => AnyValue::Double(f64::from_bits(bits)),
                (any::ARRAY, Value::Bytes(bytes)) => AnyValue::Array(bytes),
                (any::KVLIST, Value::Bytes(bytes)) => AnyValue::Kvlist(bytes),
                (any::BYTES, Value::Bytes(bytes)) => AnyValue::Bytes(bytes),
                _ => value,
            };
        }
        value
    }
}

#[inline]
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

/// Key and value body of one `KeyValue` message.
#[inline]
pub fn key_value(body: &[u8]) -> (&[u8], &[u8]) {
    short_key_value(body).unwrap_or_else(|| any_key_value(body))
}

/// As every SDK writes it: the key, then the value, nothing else, each with a length of one byte.
#[inline(always)]
fn short_key_value(body: &[u8]) -> Option<(&[u8], &[u8])> {
    const KEY: u8 = (key_value::KEY << 3 | 2) as u8;
    const VALUE: u8 = (key_value::VALUE << 3 | 2) as u8;
    let (&[KEY, key_length], rest) = body.split_first_chunk()? else {
        return None;
    };
    let (key, rest) = rest.split_at_checked(usize::from(key_length))?;
    let (&[VALUE, value_length], value) = rest.split_first_chunk()? else {
        return None;
    };
    let short = key_length < 0x80 && value_length < 0x80;
    (short && value.len() == usize::from(value_length)).then_some((key, value))
}

fn any_key_value(body: &[u8]) -> (&[u8], &[u8]) {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    for field in fields(body).flatten() {
        match field.number {
            key_value::KEY => key = field.value.bytes(),
            key_value::VALUE => value = field.value.bytes(),
            _ => {}
        }
    }
    (key, value)
}

/// The attributes (key, AnyValue body) that stand under field `number` of `message`, in wire order.
#[inline]
pub fn attributes(message: &[u8], number: u32) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields(message)
        .flatten()
        .filter(move |field| field.number == number)
        .map(|field| key_value(field.value.bytes()))
}

/// The fields of `message` numbered `number` that are length-delimited.
#[inline]
pub fn children(message: &[u8], number: u32) -> impl Iterator<Item = Result<Field<'_>>> {
    fields(message).filter(move |field| match field {
        Ok(field) => field.number == number && matches!(field.value, Value::Bytes(_)),
        Err(_) => true,
    })
}

/// The first length-delimited field `number` of `message`; empty where there is none.
#[inline]
pub fn child(message: &[u8], number: u32) -> &[u8] {
    children(message, number)
        .flatten()
        .next()
        .map_or(&[], |field| field.value.bytes())
}

/// The number in field `number` of `message`, the last where it stands more than once; 0 where there is none.
pub fn number(message: &[u8], number: u32) -> u64 {
    fields(message)
        .flatten()
        .filter(|field| field.number == number)
        .last()
        .map_or(0, |field| field.value.number())
}

/// Writes the Buckets of an ExponentialHistogramDataPoint into its field `number`.
pub fn put_exponential_buckets(out: &mut Vec<u8>, number: u32, offset: i32, counts: &[u64]) {
    put_message(out, number, |out| {
        put_varint_field(out, exponential_point::OFFSET, zigzag(offset.into()));
        put_message(out, exponential_point::BUCKET_COUNTS, |out| {
            counts.iter().for_each(|count| put_varint(out, *count));
        });
    });
}

/// What is around one item: the bodies of its Resource and Scope messages.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub resource: &'a [u8],
    pub scope: &'a [u8],
    /// The body of the ScopeSpans message or its twin.
    pub scope_items: &'a [u8],
    /// True for the first item below this resource, and below this scope: the moment to compute what they share.
    pub new_resource: bool,
    pub new_scope: bool,
}

/// Calls `visit` with every item (the body of a Span, LogRecord or Metric) and its context, in wire order.
/// The batch has been checked; what cannot be read is passed over.
#[inline]
pub fn for_each_item<'a>(message: &'a [u8], mut visit: impl FnMut(&Context<'a>, &'a [u8])) {
    for resource_items in children(message, RESOURCE_ITEMS).flatten() {
        let resource_items = resource_items.value.bytes();
        let mut context = Context {
            resource: child(resource_items, RESOURCE),
            scope: &[],
            scope_items: &[],
            new_resource: true,
            new_scope: true,
        };
        for scope_items in children(resource_items, SCOPE_ITEMS).flatten() {
            let scope_items = scope_items.value.bytes();
            context.scope = child(scope_items, SCOPE);
            context.scope_items = scope_items;
            context.new_scope = true;
            for item in children(scope_items, ITEMS).flatten() {
                visit(&context, item.value.bytes());
                context.new_resource = false;
                context.new_scope = false;
            }
        }
    }
}

/// Whether field `number` of a Metric message holds its data points: gauge, sum, ...
pub fn is_data(number: u32) -> bool {
    matches!(
        number,
        metric::GAUGE
            | metric::SUM
            | metric::HISTOGRAM
            | metric::EXPONENTIAL_HISTOGRAM
            | metric::SUMMARY
    )
}

/// The data points of one Metric message, each with the number of the field (gauge, sum, ...) that holds it.
pub fn points(metric: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let data = fields(metric)
        .flatten()
        .filter(|field| is_data(field.number));
    data.flat_map(|data| {
        let points = children(data.value.bytes(), metric::DATA_POINTS).flatten();
        points.map(move |point| (data.number, point.value.bytes()))
    })
}

/// How many data points one Metric message has.
pub fn data_points(metric: &[u8]) -> u64 {
    points(metric).count() as u64
}

/// The items of a checked request: spans, log records or data points.
pub fn count_items(signal: Signal, message: &[u8]) -> u64 {
    let mut items = 0;
    for_each_item(message, |_, item| {
        items += match signal {
            Signal::Metrics => data_points(item),
            Signal::Traces | Signal::Logs => 1,
        };
    });
    items
}
