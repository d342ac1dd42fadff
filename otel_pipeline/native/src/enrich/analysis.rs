//! The first pass over a batch: what every resource, scope and span is to get, before anything is written.
#![forbid(unsafe_code)]

use super::gather::{Gathered, members};
use super::header::{Candidate, Header, first_of};
use super::plan::{From, Lookup, Mask, Plan, Rule, Set, scalar};
use super::value::Value;
use crate::otlp::{
    AnyValue, ITEMS, RESOURCE, RESOURCE_ATTRIBUTES, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, Signal,
    attributes, child, children, data_points, key_value, span, text,
};
use crate::wire::{Value as WireValue, fields};

/// A value of one span.
pub struct Entry<'a> {
    pub attribute: u8,
    pub value: Value<'a>,
    /// False where the span carries it already.
    pub write: bool,
}

/// A run of entries. A batch is far smaller than 4 GiB, and every entry or record takes some of its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    first: u32,
    end: u32,
}

impl Run {
    pub fn since(first: usize, entries: &[Entry<'_>]) -> Self {
        Self {
            first: first as u32,
            end: entries.len() as u32,
        }
    }

    #[inline]
    pub fn of<'e, 'a>(self, entries: &'e [Entry<'a>]) -> &'e [Entry<'a>] {
        &entries[self.first as usize..self.end as usize]
    }
}

/// What is known of one span.
pub struct SpanRecord<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_id: &'a [u8],
    pub scope: u32,
    /// Its own values in `Analysis.entries`, and its inherited ones in `Analysis.inherited`.
    pub own: Run,
    pub inherited: Run,
    /// Attributes that have a value, here or around it.
    pub have: Mask,
    /// Attributes whose own key stands here, with whatever value, and those of them that get another one.
    pub own_keys: Mask,
    pub replaced: Mask,
}

pub struct ResourceRecord<'a> {
    pub sender: &'a str,
    pub header: Header<'a>,
}

pub struct ScopeRecord<'a> {
    pub resource: usize,
    pub header: Header<'a>,
    /// Items below it, where they are no spans.
    pub items: u64,
}

impl<'a> Analysis<'a> {
    /// The values of a span that do not stand around it: its own, then the inherited ones.
    #[inline]
    pub fn values(&self, span: &SpanRecord<'a>) -> impl Iterator<Item = &Entry<'a>> {
        span.own
            .of(&self.entries)
            .iter()
            .chain(span.inherited.of(&self.inherited))
    }

    pub fn scope(&self, span: &SpanRecord<'a>) -> &ScopeRecord<'a> {
        &self.scopes[span.scope as usize]
    }
}

/// All that is known of a batch. Records stand in wire order, empty resources and scopes included.
pub struct Analysis<'a> {
    pub resources: Vec<ResourceRecord<'a>>,
    pub scopes: Vec<ScopeRecord<'a>>,
    pub spans: Vec<SpanRecord<'a>>,
    pub entries: Vec<Entry<'a>>,
    pub inherited: Vec<Entry<'a>>,
}

/// Analyses a checked request.
pub fn analyse<'a>(plan: &'a Plan, signal: Signal, message: &'a [u8]) -> Analysis<'a> {
    let mut pass = Pass {
        plan,
        gathered: Gathered::new(plan),
        current: vec![Value::Bool(false); plan.attributes.len()],
        memo: vec![Memo::default(); plan.attributes.len()],
        analysis: Analysis {
            resources: Vec::new(),
            scopes: Vec::new(),
            spans: Vec::with_capacity(message.len() / 256),
            entries: Vec::with_capacity(message.len() / 128),
            inherited: Vec::new(),
        },
    };
    for resource_items in children(message, RESOURCE_ITEMS).flatten() {
        pass.resource(signal, resource_items.value.bytes());
    }
    pass.analysis
}

/// How many texts of one attribute are remembered.
const MEMO: usize = 4;

/// The last texts of an attribute and their one form: a batch tends to repeat a few.
#[derive(Clone, Default)]
struct Memo<'a> {
    recent: [Option<(&'a str, Value<'a>)>; MEMO],
    next: usize,
}

struct Pass<'a> {
    plan: &'a Plan,
    gathered: Gathered<'a>,
    /// Values of the span at hand, where the mask beside it says so.
    current: Vec<Value<'a>>,
    /// For each attribute.
    memo: Vec<Memo<'a>>,
    analysis: Analysis<'a>,
}

impl<'a> Pass<'a> {
    fn resource(&mut self, signal: Signal, body: &'a [u8]) {
        let resource = child(body, RESOURCE);
        let header = Header::of_resource(self.plan, &mut self.gathered, resource);
        self.analysis.resources.push(ResourceRecord {
            sender: sender(resource),
            header,
        });
        for scope_items in children(body, SCOPE_ITEMS).flatten() {
            self.scope(signal, resource, scope_items.value.bytes());
        }
    }

    fn scope(&mut self, signal: Signal, resource: &'a [u8], body: &'a [u8]) {
        let scope = child(body, SCOPE);
        let index = self.analysis.resources.len() - 1;
        let above = &self.analysis.resources[index].header;
        let header = Header::of_scope(self.plan, &mut self.gathered, above, resource, scope);
        let items = children(body, ITEMS)
            .flatten()
            .map(|item| item.value.bytes());
        let mut record = ScopeRecord {
            resource: index,
            header,
            items: 0,
        };
        match signal {
            Signal::Traces => {
                let candidates = record.header.candidates(self.plan, resource, scope);
                items.for_each(|item| self.span(&record.header, &candidates, resource, item));
            }
            Signal::Metrics => record.items = items.map(data_points).sum(),
            Signal::Logs => record.items = items.count() as u64,
        }
        self.analysis.scopes.push(record);
    }

    fn span(
        &mut self,
        around: &Header<'a>,
        candidates: &[Candidate],
        resource: &'a [u8],
        body: &'a [u8],
    ) {
        self.gathered.clear();
        let span = SpanFields::read(body, |key, value| self.gathered.add(self.plan, key, value));
        let mut values = Values {
            have: 0,
            given: self.gathered.found | around.given,
            ruled: 0,
        };
        for attribute in members(self.gathered.found) {
            self.current[attribute] = self.normalised(attribute, self.gathered.best(attribute));
            values.have |= 1 << attribute;
        }
        for candidate in candidates {
            let rule = &self.plan.rules[candidate.rule];
            let free = candidate.allowed & !values.given | rule.overrides & values.given;
            let wanted = free & !values.ruled;
            if wanted != 0 && self.holds(rule, &span, &values, around) {
                self.apply(rule, wanted, &span, &mut values, around, resource);
            }
        }
        self.record(&span, &values, around);
    }

    /// Notes the values of the span; what it carries already, or its scope and resource do, is not to be written.
    fn record(&mut self, span: &SpanFields<'a>, values: &Values, around: &Header<'a>) {
        let own = self.gathered.own;
        let first = self.analysis.entries.len();
        let mut replaced = 0;
        for attribute in members(values.have | (own & around.have)) {
            let bit = 1 << attribute;
            let outer = around.value(attribute);
            let value = match values.have & bit {
                0 => outer,
                _ => Some(self.current[attribute]),
            };
            let Some(value) = value else { continue };
            let stands = match own & bit {
                0 => outer,
                _ => self.gathered.own_value(attribute),
            };
            let write = stands != Some(value);
            if write {
                replaced |= own & bit;
            } else if own & bit == 0 {
                continue;
            }
            self.analysis.entries.push(Entry {
                attribute: attribute as u8,
                value,
                write,
            });
        }
        self.analysis.spans.push(SpanRecord {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_id: span.parent_id,
            scope: self.analysis.scopes.len() as u32,
            own: Run::since(first, &self.analysis.entries),
            inherited: Run::default(),
            have: values.have | around.have,
            own_keys: own,
            replaced,
        });
    }

    fn normalised(&mut self, attribute: usize, value: Value<'a>) -> Value<'a> {
        let domain = &self.plan.attributes[attribute].domain;
        let Value::Text(text) = value else {
            return domain.normalise(value);
        };
        let memo = &mut self.memo[attribute];
        if let Some((_, form)) = memo.recent.iter().flatten().find(|(raw, _)| *raw == text) {
            return *form;
        }
        let form = domain.normalise(value);
        memo.recent[memo.next % MEMO] = Some((text, form));
        memo.next += 1;
        form
    }

    /// Whether the span satisfies the rule. Scope and resource do, else it were no candidate.
    #[inline]
    fn holds(
        &self,
        rule: &Rule,
        span: &SpanFields<'a>,
        values: &Values,
        around: &Header<'a>,
    ) -> bool {
        let selector = &rule.selector;
        let is_in = |bits: u32, number: u64| bits == 0 || number < 32 && bits & 1 << number != 0;
        is_in(selector.statuses, span.status)
            && is_in(selector.kinds, span.kind)
            && (selector.name.as_ref()).is_none_or(|one| one.holds(Some(AnyValue::Str(span.name))))
            && (selector.attributes.iter()).all(|(lookup, one)| match lookup {
                Lookup::Slot(_) => one.holds(self.gathered.slot(*lookup)),
                Lookup::Canonical(attribute) => match self.so_far(*attribute, values, around) {
                    Some(value) => value.with_any(|value| one.holds(Some(value))),
                    None => one.holds(None),
                },
            })
            && (selector.event.as_ref()).is_none_or(|one| {
                span.events()
                    .any(|event| one.holds(Some(AnyValue::Str(event_name(event)))))
            })
    }

    fn so_far(&self, attribute: usize, values: &Values, around: &Header<'a>) -> Option<Value<'a>> {
        match values.have & 1 << attribute {
            0 => around.value(attribute),
            _ => Some(self.current[attribute]),
        }
    }

    fn apply(
        &mut self,
        rule: &'a Rule,
        wanted: Mask,
        span: &SpanFields<'a>,
        values: &mut Values,
        around: &Header<'a>,
        resource: &'a [u8],
    ) {
        for set in rule
            .set
            .iter()
            .filter(|set| wanted & 1 << set.attribute != 0)
        {
            let bit = 1 << set.attribute;
            let found = self.source(set, span, values, around, resource);
            let found = found.and_then(|value| set.captured(value));
            let found = found.and_then(|value| set.translate(value));
            let domain = &self.plan.attributes[set.attribute].domain;
            if let Some(value) = found.and_then(|value| domain.admit(value)) {
                self.current[set.attribute] = self.normalised(set.attribute, value);
                values.have |= bit;
                values.ruled |= bit;
            }
        }
    }

    fn source(
        &self,
        set: &'a Set,
        span: &SpanFields<'a>,
        values: &Values,
        around: &Header<'a>,
        resource: &'a [u8],
    ) -> Option<Value<'a>> {
        match &set.from {
            From::Value(literal) => Some(scalar(literal)),
            From::Resource(keys) => first_of(resource, RESOURCE_ATTRIBUTES, keys),
            From::Name => Value::of(AnyValue::Str(span.name)),
            From::Attributes(lookups) => lookups.iter().find_map(|lookup| match lookup {
                Lookup::Slot(_) => self.gathered.slot(*lookup).and_then(Value::of),
                Lookup::Canonical(attribute) => self.so_far(*attribute, values, around),
            }),
            From::Event(name, keys) => {
                let event = span
                    .events()
                    .filter(|event| event_name(event) == name)
                    .last()?;
                first_of(event, span::EVENT_ATTRIBUTES, keys)
            }
        }
    }
}

/// Which canonical attributes of the span at hand have a value, by where it came from.
struct Values {
    have: Mask,
    /// By the sender, on the span or around it.
    given: Mask,
    /// By a rule.
    ruled: Mask,
}

struct SpanFields<'a> {
    body: &'a [u8],
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_id: &'a [u8],
    name: &'a str,
    kind: u64,
    status: u64,
}

impl<'a> SpanFields<'a> {
    #[inline]
    fn read(body: &'a [u8], mut attribute: impl FnMut(&'a [u8], &'a [u8])) -> Self {
        let mut read = Self {
            body,
            trace_id: &[],
            span_id: &[],
            parent_id: &[],
            name: "",
            kind: 0,
            status: 0,
        };
        for field in fields(body).flatten() {
            match (field.number, field.value) {
                (span::ATTRIBUTES, WireValue::Bytes(body)) => {
                    let (key, value) = key_value(body);
                    attribute(key, value);
                }
                (span::TRACE_ID, value) => read.trace_id = value.bytes(),
                (span::SPAN_ID, value) => read.span_id = value.bytes(),
                (span::PARENT_SPAN_ID, value) => read.parent_id = value.bytes(),
                (span::NAME, value) => read.name = text(value.bytes()),
                (span::KIND, value) => read.kind = value.number(),
                (span::STATUS, value) => {
                    let status = fields(value.bytes()).flatten();
                    let codes = status.filter(|field| field.number == span::STATUS_CODE);
                    read.status = codes.last().map_or(read.status, |code| code.value.number());
                }
                _ => {}
            }
        }
        read
    }

    fn events(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let events = children(self.body, span::EVENTS).flatten();
        events.map(|event| event.value.bytes())
    }
}

fn event_name(event: &[u8]) -> &str {
    text(child(event, span::EVENT_NAME))
}

fn sender(resource: &[u8]) -> &str {
    let mut all = attributes(resource, RESOURCE_ATTRIBUTES);
    match all.find(|(key, _)| *key == b"service.name") {
        Some((_, value)) => match AnyValue::parse(value) {
            AnyValue::Str(name) => name,
            _ => "",
        },
        None => "",
    }
}
