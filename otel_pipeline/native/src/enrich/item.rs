//! Spans, log records and data points as rules see them.
#![forbid(unsafe_code)]

use super::gather::Gathered;
use super::plan::{Plan, Stage};
use crate::otlp::{AnyValue, child, children, key_value, log, span, text};
use crate::wire::{Value, fields};

/// Bodies of log records above this length are no name.
const MAX_NAME_BYTES: usize = 128;

/// No kind and no status: what no condition on these holds for.
const NO_NUMBER: u64 = u64::MAX;

/// One item, its attributes gathered.
pub struct Item<'a> {
    pub body: &'a [u8],
    /// The field number of its attributes.
    pub attributes: u32,
    /// Of a data point, that of its metric.
    pub name: Option<&'a str>,
    /// The name is what a log record says, and may be any text.
    pub is_said: bool,
    pub kind: u64,
    pub status: u64,
    pub ids: Ids<'a>,
    stage: Stage,
}

/// What tells a span's place in its trace.
#[derive(Default, Clone, Copy)]
pub struct Ids<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_id: &'a [u8],
}

impl<'a> Item<'a> {
    fn new(stage: Stage, body: &'a [u8], attributes: u32) -> Self {
        Self {
            body,
            attributes,
            name: None,
            is_said: false,
            kind: NO_NUMBER,
            status: NO_NUMBER,
            ids: Ids::default(),
            stage,
        }
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    #[inline]
    pub fn span(plan: &'a Plan, gathered: &mut Gathered<'a>, body: &'a [u8]) -> Self {
        gathered.clear();
        let mut item = Self {
            name: Some(""),
            kind: 0,
            status: 0,
            ..Self::new(Stage::Span, body, span::ATTRIBUTES)
        };
        for field in fields(body).flatten() {
            match (field.number, field.value) {
                (span::ATTRIBUTES, Value::Bytes(body)) => {
                    let (key, value) = key_value(body);
                    gathered.add(plan, key, value);
                }
                (span::TRACE_ID, value) => item.ids.trace_id = value.bytes(),
                (span::SPAN_ID, value) => item.ids.span_id = value.bytes(),
                (span::PARENT_SPAN_ID, value) => item.ids.parent_id = value.bytes(),
                (span::NAME, value) => item.name = Some(text(value.bytes())),
                (span::KIND, value) => item.kind = value.number(),
                (span::STATUS, value) => {
                    let status = fields(value.bytes()).flatten();
                    let codes = status.filter(|field| field.number == span::STATUS_CODE);
                    item.status = codes.last().map_or(item.status, |code| code.value.number());
                }
                _ => {}
            }
        }
        item
    }

    /// A log record. Its name is the attribute `event.name`, else its event name, else its body where that is a short text.
    #[inline]
    pub fn log_record(plan: &'a Plan, gathered: &mut Gathered<'a>, body: &'a [u8]) -> Self {
        gathered.clear();
        let mut item = Self::new(Stage::Event, body, log::ATTRIBUTES);
        let (mut event_name, mut said): (&[u8], &[u8]) = (&[], &[]);
        for field in fields(body).flatten() {
            match (field.number, field.value) {
                (log::ATTRIBUTES, Value::Bytes(body)) => {
                    let (key, value) = key_value(body);
                    gathered.add(plan, key, value);
                }
                (log::EVENT_NAME, value) => event_name = value.bytes(),
                (log::BODY, value) => said = value.bytes(),
                _ => {}
            }
        }
        item.name = not_empty(gathered.slot(plan.event_name))
            .or_else(|| not_empty(Some(AnyValue::Str(text(event_name)))));
        item.is_said = item.name.is_none();
        if item.is_said {
            item.name = short_text(said);
        }
        item
    }

    #[inline]
    pub fn data_point(
        plan: &'a Plan,
        gathered: &mut Gathered<'a>,
        name: &'a str,
        attributes: u32,
        body: &'a [u8],
    ) -> Self {
        gathered.clear();
        for field in fields(body).flatten() {
            if let (true, Value::Bytes(body)) = (field.number == attributes, field.value) {
                let (key, value) = key_value(body);
                gathered.add(plan, key, value);
            }
        }
        Self {
            name: Some(name),
            ..Self::new(Stage::Point, body, attributes)
        }
    }

    /// The events of a span.
    pub fn events(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let body = match self.stage {
            Stage::Span => self.body,
            _ => &[],
        };
        let events = children(body, span::EVENTS).flatten();
        events.map(|event| event.value.bytes())
    }
}

pub fn event_name(event: &[u8]) -> &str {
    text(child(event, span::EVENT_NAME))
}

fn not_empty(value: Option<AnyValue<'_>>) -> Option<&str> {
    match value {
        Some(AnyValue::Str("")) => None,
        Some(AnyValue::Str(text)) => Some(text),
        _ => None,
    }
}

fn short_text(body: &[u8]) -> Option<&str> {
    if body.len() > MAX_NAME_BYTES + 3 {
        return None;
    }
    let text = not_empty(Some(AnyValue::parse(body)))?;
    (text.len() <= MAX_NAME_BYTES).then_some(text)
}
