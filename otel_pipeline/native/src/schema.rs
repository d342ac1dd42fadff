//! The OTLP messages as one static table. Checking, repairing, reading JSON and writing JSON are all driven by it.
//! Source: opentelemetry-proto 1.11 (`trace.proto`, `metrics.proto`, `logs.proto`, `common.proto`, `resource.proto`).
#![forbid(unsafe_code)]

use crate::otlp::Signal;

/// The type of a field's value.
#[derive(Clone, Copy)]
pub enum Kind {
    Message(&'static Message),
    String,
    /// The key of an attribute: a string with a limit of its own.
    Key,
    Bytes,
    /// A trace or span id: bytes in protobuf, hex text in JSON.
    Id(Id),
    Bool,
    Int32,
    Sint32,
    Uint32,
    Int64,
    Uint64,
    Enum,
    Fixed32,
    Fixed64,
    Sfixed64,
    Double,
}

/// Which id a field holds; the number is its place among the ids of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    Trace = 0,
    Span = 1,
    Parent = 2,
}

/// Whether a field that was never set differs from one that holds its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Implicit,
    Optional,
    /// A member of the message's only oneof: the last one set holds.
    Oneof,
}

pub struct Field {
    pub number: u32,
    /// The name in OTLP/JSON.
    pub name: &'static str,
    pub kind: Kind,
    pub repeated: bool,
    pub presence: Presence,
    /// Bounded by `Limits.max_attributes`.
    pub is_attributes: bool,
    /// The number of the field beside this list that counts what was left out of it; 0 where there is none.
    pub dropped_count: u32,
}

/// What a message is to the decoder, beyond its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Plain,
    ResourceItems,
    ScopeItems,
    Span,
    Link,
    LogRecord,
    Metric,
    DataPoint,
    Exemplar,
    /// A list or map inside a value.
    Collection,
}

impl Role {
    /// True for what a scope holds: the parts of a request that can be judged one by one.
    pub fn is_item(self) -> bool {
        matches!(self, Role::Span | Role::LogRecord | Role::Metric)
    }

    /// True for spans, data points and log records.
    #[inline]
    pub fn counts(self) -> bool {
        matches!(self, Role::Span | Role::LogRecord | Role::DataPoint)
    }

    /// True for what is nothing without its trace and span id.
    #[inline]
    pub fn needs_ids(self) -> bool {
        matches!(self, Role::Span | Role::Link)
    }

    /// True for what is pointless once all its items are gone.
    pub fn holds_items(self) -> bool {
        matches!(self, Role::ResourceItems | Role::ScopeItems)
    }
}

/// Field numbers end at 16, so that every tag of a known field is below this.
const TAGS: usize = 17 << 3;

pub struct Message {
    pub role: Role,
    pub fields: &'static [Field],
    /// For each tag (number and wire type) the place of its field, counted from 1.
    by_tag: [u8; TAGS],
}

impl Message {
    /// The field of a tag, where the wire type is the one that encoders write.
    #[inline]
    pub fn by_tag(&self, tag: u32) -> Option<&'static Field> {
        let place = *self.by_tag.get(tag as usize)?;
        self.fields.get(usize::from(place).wrapping_sub(1))
    }

    /// How much deeper the values in this message lie than those around it; see `Limits::is_too_deep`.
    /// An exemplar counts, because it lies two messages deeper in a request than other holders of attributes.
    #[inline]
    pub fn nests(&self) -> usize {
        usize::from(matches!(self.role, Role::Collection | Role::Exemplar))
    }

    pub fn by_number(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

impl Kind {
    /// The wire type of one value, not packed.
    pub const fn wire_type(self) -> u8 {
        match self {
            Kind::Message(_) | Kind::String | Kind::Key | Kind::Bytes | Kind::Id(_) => 2,
            Kind::Fixed32 => 5,
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => 1,
            Kind::Bool
            | Kind::Int32
            | Kind::Sint32
            | Kind::Uint32
            | Kind::Int64
            | Kind::Uint64
            | Kind::Enum => 0,
        }
    }
}

impl Field {
    /// True for repeated numbers: proto3 packs them into one length-delimited field.
    pub const fn is_packed(&self) -> bool {
        self.repeated && self.kind.wire_type() != 2
    }
}

const fn message(role: Role, fields: &'static [Field]) -> Message {
    let mut by_tag = [0; TAGS];
    let mut place = 0;
    while place < fields.len() {
        let field = &fields[place];
        let wire_type = if field.is_packed() {
            2
        } else {
            field.kind.wire_type()
        };
        by_tag[(field.number as usize) << 3 | wire_type as usize] = place as u8 + 1;
        place += 1;
    }
    Message {
        role,
        fields,
        by_tag,
    }
}

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        number,
        name,
        kind,
        repeated: false,
        presence: Presence::Implicit,
        is_attributes: false,
        dropped_count: 0,
    }
}

const fn optional(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        presence: Presence::Optional,
        ..one(number, name, kind)
    }
}

const fn oneof(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        presence: Presence::Oneof,
        ..one(number, name, kind)
    }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        repeated: true,
        ..one(number, name, kind)
    }
}

const fn counted(number: u32, name: &'static str, kind: Kind, dropped_count: u32) -> Field {
    Field {
        dropped_count,
        ..many(number, name, kind)
    }
}

const fn attributes(number: u32, name: &'static str, dropped_count: u32) -> Field {
    Field {
        is_attributes: true,
        ..counted(number, name, Kind::Message(&KEY_VALUE), dropped_count)
    }
}

/// The request message of a signal.
pub fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Traces => &TRACES,
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
    }
}

/// The name in the .proto files: `traceId` is `trace_id`.
pub fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// `instrumentation_library_spans` and its twins, removed from OTLP in 0.19: field number and JSON names.
pub const LEGACY_LIBRARY: u32 = 1000;
pub const LEGACY_LIBRARY_NAMES: [&str; 3] = [
    "instrumentationLibrarySpans",
    "instrumentationLibraryMetrics",
    "instrumentationLibraryLogs",
];

// --- common and resource

pub static KEY_VALUE: Message = message(
    Role::Plain,
    &[
        one(1, "key", Kind::Key),
        one(2, "value", Kind::Message(&ANY_VALUE)),
        one(3, "keyStrindex", Kind::Int32),
    ],
);

pub static ANY_VALUE: Message = message(
    Role::Plain,
    &[
        oneof(1, "stringValue", Kind::String),
        oneof(2, "boolValue", Kind::Bool),
        oneof(3, "intValue", Kind::Int64),
        oneof(4, "doubleValue", Kind::Double),
        oneof(5, "arrayValue", Kind::Message(&ARRAY_VALUE)),
        oneof(6, "kvlistValue", Kind::Message(&KEY_VALUE_LIST)),
        oneof(7, "bytesValue", Kind::Bytes),
        oneof(8, "stringValueStrindex", Kind::Int32),
    ],
);

static ARRAY_VALUE: Message = message(
    Role::Collection,
    &[many(1, "values", Kind::Message(&ANY_VALUE))],
);

static KEY_VALUE_LIST: Message = message(
    Role::Collection,
    &[many(1, "values", Kind::Message(&KEY_VALUE))],
);

static SCOPE: Message = message(
    Role::Plain,
    &[
        one(1, "name", Kind::String),
        one(2, "version", Kind::String),
        attributes(3, "attributes", 4),
        one(4, "droppedAttributesCount", Kind::Uint32),
    ],
);

static RESOURCE: Message = message(
    Role::Plain,
    &[
        attributes(1, "attributes", 2),
        one(2, "droppedAttributesCount", Kind::Uint32),
        many(3, "entityRefs", Kind::Message(&ENTITY_REF)),
    ],
);

static ENTITY_REF: Message = message(
    Role::Plain,
    &[
        one(1, "schemaUrl", Kind::String),
        one(2, "type", Kind::String),
        many(3, "idKeys", Kind::String),
        many(4, "descriptionKeys", Kind::String),
    ],
);

// --- traces

static TRACES: Message = message(
    Role::Plain,
    &[many(1, "resourceSpans", Kind::Message(&RESOURCE_SPANS))],
);

static RESOURCE_SPANS: Message = message(
    Role::ResourceItems,
    &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scopeSpans", Kind::Message(&SCOPE_SPANS)),
        one(3, "schemaUrl", Kind::String),
    ],
);

static SCOPE_SPANS: Message = message(
    Role::ScopeItems,
    &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "spans", Kind::Message(&SPAN)),
        one(3, "schemaUrl", Kind::String),
    ],
);

static SPAN: Message = message(
    Role::Span,
    &[
        one(1, "traceId", Kind::Id(Id::Trace)),
        one(2, "spanId", Kind::Id(Id::Span)),
        one(3, "traceState", Kind::String),
        one(4, "parentSpanId", Kind::Id(Id::Parent)),
        one(5, "name", Kind::String),
        one(6, "kind", Kind::Enum),
        one(7, "startTimeUnixNano", Kind::Fixed64),
        one(8, "endTimeUnixNano", Kind::Fixed64),
        attributes(9, "attributes", 10),
        one(10, "droppedAttributesCount", Kind::Uint32),
        counted(11, "events", Kind::Message(&EVENT), 12),
        one(12, "droppedEventsCount", Kind::Uint32),
        counted(13, "links", Kind::Message(&LINK), 14),
        one(14, "droppedLinksCount", Kind::Uint32),
        one(15, "status", Kind::Message(&STATUS)),
        one(16, "flags", Kind::Fixed32),
    ],
);

static EVENT: Message = message(
    Role::Plain,
    &[
        one(1, "timeUnixNano", Kind::Fixed64),
        one(2, "name", Kind::String),
        attributes(3, "attributes", 4),
        one(4, "droppedAttributesCount", Kind::Uint32),
    ],
);

static LINK: Message = message(
    Role::Link,
    &[
        one(1, "traceId", Kind::Id(Id::Trace)),
        one(2, "spanId", Kind::Id(Id::Span)),
        one(3, "traceState", Kind::String),
        attributes(4, "attributes", 5),
        one(5, "droppedAttributesCount", Kind::Uint32),
        one(6, "flags", Kind::Fixed32),
    ],
);

static STATUS: Message = message(
    Role::Plain,
    &[one(2, "message", Kind::String), one(3, "code", Kind::Enum)],
);

// --- metrics

static METRICS: Message = message(
    Role::Plain,
    &[many(1, "resourceMetrics", Kind::Message(&RESOURCE_METRICS))],
);

static RESOURCE_METRICS: Message = message(
    Role::ResourceItems,
    &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scopeMetrics", Kind::Message(&SCOPE_METRICS)),
        one(3, "schemaUrl", Kind::String),
    ],
);

static SCOPE_METRICS: Message = message(
    Role::ScopeItems,
    &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "metrics", Kind::Message(&METRIC)),
        one(3, "schemaUrl", Kind::String),
    ],
);

static METRIC: Message = message(
    Role::Metric,
    &[
        one(1, "name", Kind::String),
        one(2, "description", Kind::String),
        one(3, "unit", Kind::String),
        oneof(5, "gauge", Kind::Message(&GAUGE)),
        oneof(7, "sum", Kind::Message(&SUM)),
        oneof(9, "histogram", Kind::Message(&HISTOGRAM)),
        oneof(
            10,
            "exponentialHistogram",
            Kind::Message(&EXPONENTIAL_HISTOGRAM),
        ),
        oneof(11, "summary", Kind::Message(&SUMMARY)),
        attributes(12, "metadata", 0),
    ],
);

static GAUGE: Message = message(
    Role::Plain,
    &[many(1, "dataPoints", Kind::Message(&NUMBER_DATA_POINT))],
);

static SUM: Message = message(
    Role::Plain,
    &[
        many(1, "dataPoints", Kind::Message(&NUMBER_DATA_POINT)),
        one(2, "aggregationTemporality", Kind::Enum),
        one(3, "isMonotonic", Kind::Bool),
    ],
);

static HISTOGRAM: Message = message(
    Role::Plain,
    &[
        many(1, "dataPoints", Kind::Message(&HISTOGRAM_DATA_POINT)),
        one(2, "aggregationTemporality", Kind::Enum),
    ],
);

static EXPONENTIAL_HISTOGRAM: Message = message(
    Role::Plain,
    &[
        many(
            1,
            "dataPoints",
            Kind::Message(&EXPONENTIAL_HISTOGRAM_DATA_POINT),
        ),
        one(2, "aggregationTemporality", Kind::Enum),
    ],
);

static SUMMARY: Message = message(
    Role::Plain,
    &[many(1, "dataPoints", Kind::Message(&SUMMARY_DATA_POINT))],
);

static NUMBER_DATA_POINT: Message = message(
    Role::DataPoint,
    &[
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        oneof(4, "asDouble", Kind::Double),
        many(5, "exemplars", Kind::Message(&EXEMPLAR)),
        oneof(6, "asInt", Kind::Sfixed64),
        attributes(7, "attributes", 0),
        one(8, "flags", Kind::Uint32),
    ],
);

static HISTOGRAM_DATA_POINT: Message = message(
    Role::DataPoint,
    &[
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "count", Kind::Fixed64),
        optional(5, "sum", Kind::Double),
        many(6, "bucketCounts", Kind::Fixed64),
        many(7, "explicitBounds", Kind::Double),
        many(8, "exemplars", Kind::Message(&EXEMPLAR)),
        attributes(9, "attributes", 0),
        one(10, "flags", Kind::Uint32),
        optional(11, "min", Kind::Double),
        optional(12, "max", Kind::Double),
    ],
);

static EXPONENTIAL_HISTOGRAM_DATA_POINT: Message = message(
    Role::DataPoint,
    &[
        attributes(1, "attributes", 0),
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "count", Kind::Fixed64),
        optional(5, "sum", Kind::Double),
        one(6, "scale", Kind::Sint32),
        one(7, "zeroCount", Kind::Fixed64),
        one(8, "positive", Kind::Message(&BUCKETS)),
        one(9, "negative", Kind::Message(&BUCKETS)),
        one(10, "flags", Kind::Uint32),
        many(11, "exemplars", Kind::Message(&EXEMPLAR)),
        optional(12, "min", Kind::Double),
        optional(13, "max", Kind::Double),
        one(14, "zeroThreshold", Kind::Double),
    ],
);

static BUCKETS: Message = message(
    Role::Plain,
    &[
        one(1, "offset", Kind::Sint32),
        many(2, "bucketCounts", Kind::Uint64),
    ],
);

static SUMMARY_DATA_POINT: Message = message(
    Role::DataPoint,
    &[
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "count", Kind::Fixed64),
        one(5, "sum", Kind::Double),
        many(6, "quantileValues", Kind::Message(&VALUE_AT_QUANTILE)),
        attributes(7, "attributes", 0),
        one(8, "flags", Kind::Uint32),
    ],
);

static VALUE_AT_QUANTILE: Message = message(
    Role::Plain,
    &[
        one(1, "quantile", Kind::Double),
        one(2, "value", Kind::Double),
    ],
);

static EXEMPLAR: Message = message(
    Role::Exemplar,
    &[
        one(2, "timeUnixNano", Kind::Fixed64),
        oneof(3, "asDouble", Kind::Double),
        one(4, "spanId", Kind::Id(Id::Span)),
        one(5, "traceId", Kind::Id(Id::Trace)),
        oneof(6, "asInt", Kind::Sfixed64),
        attributes(7, "filteredAttributes", 0),
    ],
);

// --- logs

static LOGS: Message = message(
    Role::Plain,
    &[many(1, "resourceLogs", Kind::Message(&RESOURCE_LOGS))],
);

static RESOURCE_LOGS: Message = message(
    Role::ResourceItems,
    &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scopeLogs", Kind::Message(&SCOPE_LOGS)),
        one(3, "schemaUrl", Kind::String),
    ],
);

static SCOPE_LOGS: Message = message(
    Role::ScopeItems,
    &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "logRecords", Kind::Message(&LOG_RECORD)),
        one(3, "schemaUrl", Kind::String),
    ],
);

static LOG_RECORD: Message = message(
    Role::LogRecord,
    &[
        one(1, "timeUnixNano", Kind::Fixed64),
        one(2, "severityNumber", Kind::Enum),
        one(3, "severityText", Kind::String),
        one(5, "body", Kind::Message(&ANY_VALUE)),
        attributes(6, "attributes", 7),
        one(7, "droppedAttributesCount", Kind::Uint32),
        one(8, "flags", Kind::Fixed32),
        one(9, "traceId", Kind::Id(Id::Trace)),
        one(10, "spanId", Kind::Id(Id::Span)),
        one(11, "observedTimeUnixNano", Kind::Fixed64),
        one(12, "eventName", Kind::String),
    ],
);
