//! What batches tell of journeys: the spans of each trace, the keys that items name, which of them stand together, and
//! in which traces.
#![forbid(unsafe_code)]

use indexmap::IndexSet;

use super::chunk::{Around, pack, put_span, put_spans};
use super::names::{LeftOut, Name, Named, Names, nearest, storable, text_of, watch};
use super::plan::Plan;
use crate::aggregate::extract::trace_number;
use crate::aggregate::hash::{HashMap, Seeded};
use crate::aggregate::keys::{Keys, Lists, Seen};
use crate::otlp::{
    Context, ITEMS, RESOURCE_ATTRIBUTES, SCOPE_SCHEMA_URL, Signal, attributes, child,
    exponential_point, for_each_item, histogram_point, key_value, log, metric, number_point, point,
    points, scope, span, summary_point, text,
};
use crate::wire::{Value, fields, put_bytes_field};

/// Distinct pairs of service and span name that are told of one trace, and traces that it links to.
const MAX_OPERATIONS: usize = 64;
const MAX_LINKS: usize = 256;
/// Of a span name in the search for traces.
const MAX_NAME_BYTES: usize = 200;

/// Source: OpenTelemetry's resource conventions, `service.name`.
pub const SERVICE: &str = "service.name";

/// When something was seen, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub first_ns: u64,
    pub last_ns: u64,
    pub items: u64,
}

impl Period {
    fn add(&mut self, other: &Self) {
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.items += other.items;
    }
}

/// The spans of one trace.
#[derive(Debug, Default)]
pub struct Chunk {
    pub trace_id: u128,
    pub start_ns: u64,
    pub end_ns: u64,
    pub spans: u64,
    pub blob: Vec<u8>,
    pub links: Vec<u128>,
    /// Places among `Extracted::operations`.
    pub operations: Vec<usize>,
}

#[derive(Debug, Default)]
pub struct Extracted {
    pub chunks: Vec<Chunk>,
    pub names: Vec<Name>,
    pub operations: Vec<(String, String)>,
    /// Places of cause and product among `names`, and a trace where there is one.
    pub edges: Vec<(usize, usize, Period, Option<u128>)>,
    pub sightings: Vec<(usize, u128, Period)>,
    pub left_out: LeftOut,
    /// Spans whose trace id is none.
    pub no_trace: u64,
}

/// Reads batches by a plan.
pub struct Extractor {
    pub names: Names,
    keys: Keys,
    content: Vec<bool>,
    service: Vec<u32>,
}

impl Extractor {
    pub fn new(plan: &Plan) -> Self {
        let mut keys = Keys::default();
        let names = Names::new(plan, &mut keys);
        let service = watch(&[SERVICE.to_owned()], &mut keys);
        let content_keys = watch(&plan.content, &mut keys);
        let mut content = vec![false; keys.watched()];
        for watched in content_keys {
            content[watched as usize] = true;
        }
        Self {
            names,
            keys,
            content,
            service,
        }
    }

    /// What all the batches together tell.
    pub fn extract(&self, batches: &[(Signal, &[u8])]) -> Extracted {
        let mut pass = Pass::new(self);
        for (signal, message) in batches {
            match signal {
                Signal::Traces => pass.traces(message),
                Signal::Logs => pass.logs(message),
                Signal::Metrics => pass.metrics(message),
            }
        }
        pass.finish()
    }

    #[inline]
    fn is_content(&self, key: &[u8]) -> bool {
        let watched = self.keys.find(key).and_then(|asked| asked.watched);
        watched.is_some_and(|watched| self.content.get(watched as usize) == Some(&true))
    }
}

/// A trace while its spans are gathered: those below one scope lie together.
#[derive(Default)]
struct Gathered {
    chunk: Chunk,
    /// Place among the headers, and fields of a ScopeSpans message.
    parts: Vec<(usize, Vec<u8>)>,
    last_operation: Option<usize>,
}

/// The names that stood on one item, as places among `Pass::names`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Together {
    names: Box<[usize]>,
    /// Cause and product.
    pairs: Box<[(usize, usize)]>,
}

struct Pass<'p, 'a> {
    plan: &'p Extractor,
    lists: Lists<'a>,
    headers: Vec<Around>,
    service: String,
    names: IndexSet<Name, Seeded>,
    operations: IndexSet<(String, String), Seeded>,
    sets: IndexSet<Together, Seeded>,
    /// The set of what was seen below the scope at hand.
    memo: HashMap<Box<[u8]>, usize>,
    together: HashMap<(usize, Option<u128>), Period>,
    traces: IndexSetMap,
    left_out: LeftOut,
    no_trace: u64,
    read: Vec<Named>,
    asked: Vec<u8>,
}

/// Traces in the order in which they came.
#[derive(Default)]
struct IndexSetMap {
    places: HashMap<u128, usize>,
    gathered: Vec<Gathered>,
    last: Option<(u128, usize)>,
}

impl IndexSetMap {
    fn at(&mut self, trace_id: u128) -> &mut Gathered {
        let at = match self.last {
            Some((last, at)) if last == trace_id => at,
            _ => *self.places.entry(trace_id).or_insert_with(|| {
                self.gathered.push(Gathered {
                    chunk: Chunk {
                        trace_id,
                        start_ns: u64::MAX,
                        ..Chunk::default()
                    },
                    ..Gathered::default()
                });
                self.gathered.len() - 1
            }),
        };
        self.last = Some((trace_id, at));
        &mut self.gathered[at]
    }
}

/// What a span is besides its attributes.
#[derive(Default)]
struct Head<'a> {
    trace_id: Option<u128>,
    name: &'a [u8],
    start_ns: u64,
    end_ns: u64,
    has_content: bool,
    links: Vec<u128>,
}

impl<'p, 'a> Pass<'p, 'a> {
    fn new(plan: &'p Extractor) -> Self {
        Self {
            plan,
            lists: Lists::default(),
            headers: Vec::new(),
            service: String::new(),
            names: IndexSet::default(),
            operations: IndexSet::default(),
            sets: IndexSet::default(),
            memo: HashMap::default(),
            together: HashMap::default(),
            traces: IndexSetMap::default(),
            left_out: LeftOut::default(),
            no_trace: 0,
            read: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn traces(&mut self, message: &'a [u8]) {
        for_each_item(message, |context, item| {
            self.enter(context);
            if context.new_scope {
                let schema_url = child(context.scope_items, SCOPE_SCHEMA_URL);
                let is_content = |key: &[u8]| self.plan.is_content(key);
                let around = Around::new(context.resource, context.scope, schema_url, &is_content);
                self.headers.push(around);
            }
            let head = self.span(item);
            self.keep(&head, item);
        });
    }

    fn enter(&mut self, context: &Context<'a>) {
        let keys = &self.plan.keys;
        if context.new_resource {
            see(
                keys,
                &mut self.lists.resource,
                attributes(context.resource, RESOURCE_ATTRIBUTES),
            );
        }
        if context.new_scope {
            see(
                keys,
                &mut self.lists.scope,
                attributes(context.scope, scope::ATTRIBUTES),
            );
            self.memo.clear();
            self.lists.item.0.clear();
            let service = nearest(&self.lists, &self.plan.service).and_then(text_of);
            self.service =
                service.map_or_else(String::new, |text| storable(cut(&text)).into_owned());
        }
        self.lists.item.0.clear();
    }

    fn span(&mut self, item: &'a [u8]) -> Head<'a> {
        let mut head = Head::default();
        for field in fields(item).flatten() {
            let value = field.value;
            match field.number {
                span::ATTRIBUTES => head.has_content |= self.attribute(value.bytes()),
                span::TRACE_ID => head.trace_id = trace_number(value.bytes()),
                span::NAME => head.name = value.bytes(),
                span::START => head.start_ns = time(value),
                span::END => head.end_ns = time(value),
                span::EVENTS => {
                    let mut all = attributes(value.bytes(), span::EVENT_ATTRIBUTES);
                    head.has_content |= all.any(|(key, _)| self.plan.is_content(key));
                }
                span::LINKS => head
                    .links
                    .extend(trace_number(child(value.bytes(), span::TRACE_ID))),
                _ => {}
            }
        }
        head
    }

    /// Takes in an attribute of the item; whether it is content.
    #[inline]
    fn attribute(&mut self, attribute: &'a [u8]) -> bool {
        let (key, value) = key_value(attribute);
        let Some(watched) = self.plan.keys.find(key).and_then(|asked| asked.watched) else {
            return false;
        };
        if self.plan.names.asks(watched) {
            self.lists.item.0.push((watched, value));
        }
        self.plan.content[watched as usize]
    }

    fn keep(&mut self, head: &Head<'_>, item: &[u8]) {
        let start_ns = if head.start_ns == 0 {
            head.end_ns
        } else {
            head.start_ns
        };
        self.note(head.trace_id, start_ns, head.end_ns.max(start_ns));
        let Some(trace_id) = head.trace_id else {
            self.no_trace += 1;
            return;
        };
        let header = self.headers.len() - 1;
        let gathered = self.traces.at(trace_id);
        let chunk = &mut gathered.chunk;
        chunk.start_ns = chunk.start_ns.min(start_ns);
        chunk.end_ns = chunk.end_ns.max(head.end_ns).max(start_ns);
        chunk.spans += 1;
        for link in head.links.iter().filter(|link| **link != trace_id) {
            if chunk.links.len() < MAX_LINKS && !chunk.links.contains(link) {
                chunk.links.push(*link);
            }
        }
        note_operation(
            &mut self.operations,
            gathered,
            &self.service,
            &storable(text(head.name)),
        );
        if gathered
            .parts
            .last()
            .is_none_or(|(last, _)| *last != header)
        {
            gathered.parts.push((header, Vec::new()));
        }
        if let Some((_, part)) = gathered.parts.last_mut() {
            match head.has_content {
                true => put_span(part, item, &|key| self.plan.is_content(key)),
                false => put_bytes_field(part, ITEMS, item),
            }
        }
    }

    /// Notes the keys of the item at hand as standing together.
    fn note(&mut self, trace_id: Option<u128>, first_ns: u64, last_ns: u64) {
        let set = self.set();
        if self.sets[set].names.is_empty() {
            return;
        }
        let seen = Period {
            first_ns,
            last_ns,
            items: 1,
        };
        let together = self.together.entry((set, trace_id));
        together
            .and_modify(|known| known.add(&seen))
            .or_insert(seen);
    }

    /// The set of names of the item at hand.
    fn set(&mut self) -> usize {
        self.asked.clear();
        for (watched, value) in &self.lists.item.0 {
            self.asked.extend_from_slice(&watched.to_le_bytes());
            self.asked
                .extend_from_slice(&(value.len() as u64).to_le_bytes());
            self.asked.extend_from_slice(value);
        }
        if let Some(set) = self.memo.get(self.asked.as_slice()) {
            return *set;
        }
        self.plan
            .names
            .read(&self.lists, &mut self.read, &mut self.left_out);
        let together = together(&self.read, &mut self.names);
        let (set, _) = self.sets.insert_full(together);
        self.memo.insert(self.asked.as_slice().into(), set);
        set
    }

    fn logs(&mut self, message: &'a [u8]) {
        for_each_item(message, |context, item| {
            self.enter(context);
            let (mut trace_id, mut time_ns, mut observed_ns) = (None, 0, 0);
            for field in fields(item).flatten() {
                let value = field.value;
                match field.number {
                    log::ATTRIBUTES => _ = self.attribute(value.bytes()),
                    log::TRACE_ID => trace_id = trace_number(value.bytes()),
                    log::TIME => time_ns = time(value),
                    log::OBSERVED_TIME => observed_ns = time(value),
                    _ => {}
                }
            }
            let time_ns = if time_ns == 0 { observed_ns } else { time_ns };
            self.note(trace_id, time_ns, time_ns);
        });
    }

    fn metrics(&mut self, message: &'a [u8]) {
        for_each_item(message, |context, item| {
            self.enter(context);
            for (data, body) in points(item) {
                self.lists.item.0.clear();
                let attributes = attributes_of_point(data);
                let mut time_ns = 0;
                for field in fields(body).flatten() {
                    match field.number {
                        point::TIME => time_ns = time(field.value),
                        number if number == attributes => _ = self.attribute(field.value.bytes()),
                        _ => {}
                    }
                }
                self.note(None, time_ns, time_ns);
            }
        });
    }

    fn finish(self) -> Extracted {
        let mut edges: HashMap<(usize, usize), (Period, Option<u128>)> = HashMap::default();
        let mut sightings: HashMap<(usize, u128), Period> = HashMap::default();
        for ((set, trace_id), seen) in &self.together {
            let Together { names, pairs } = &self.sets[*set];
            if let Some(trace_id) = trace_id {
                for name in names {
                    let known = sightings.entry((*name, *trace_id));
                    known.and_modify(|known| known.add(seen)).or_insert(*seen);
                }
            }
            for pair in pairs {
                let (known, of) = edges
                    .entry(*pair)
                    .or_insert((Period { items: 0, ..*seen }, *trace_id));
                known.add(seen);
                *of = of.or(*trace_id);
            }
        }
        let headers = &self.headers;
        let edges = edges.into_iter();
        let sightings = sightings.into_iter();
        Extracted {
            chunks: self
                .traces
                .gathered
                .into_iter()
                .map(|one| one.finish(headers))
                .collect(),
            names: self.names.into_iter().collect(),
            operations: self.operations.into_iter().collect(),
            edges: edges
                .map(|((cause, product), (seen, of))| (cause, product, seen, of))
                .collect(),
            sightings: sightings
                .map(|((name, trace_id), seen)| (name, trace_id, seen))
                .collect(),
            left_out: self.left_out,
            no_trace: self.no_trace,
        }
    }
}

impl Gathered {
    fn finish(self, headers: &[Around]) -> Chunk {
        let size = self.parts.iter().map(|(_, part)| part.len() + 256).sum();
        let mut message = Vec::with_capacity(size);
        for (header, part) in &self.parts {
            if let Some(around) = headers.get(*header) {
                put_spans(&mut message, around, part);
            }
        }
        Chunk {
            blob: pack(&message),
            ..self.chunk
        }
    }
}

/// `named` is sorted, so that causes come first.
fn together(named: &[Named], names: &mut IndexSet<Name, Seeded>) -> Together {
    let mut place = |name: &Name| names.insert_full(name.clone()).0;
    let places: Box<[usize]> = named.iter().map(|one| place(&one.name)).collect();
    let mut pairs = Vec::new();
    for (at, product) in named.iter().enumerate() {
        let causes = named[..at]
            .iter()
            .zip(&places)
            .filter(|(cause, _)| cause.links(product));
        pairs.extend(causes.map(|(_, cause)| (*cause, places[at])));
        pairs.extend(
            product
                .wider
                .as_ref()
                .map(|wider| (place(wider), places[at])),
        );
    }
    Together {
        names: places,
        pairs: pairs.into(),
    }
}

fn note_operation(
    operations: &mut IndexSet<(String, String), Seeded>,
    gathered: &mut Gathered,
    service: &str,
    name: &str,
) {
    let name = cut(name);
    let is_last = |at: usize| {
        let known = operations.get_index(at);
        known.is_some_and(|(known, operation)| known == service && operation == name)
    };
    if gathered.last_operation.is_some_and(is_last)
        || gathered.chunk.operations.len() >= MAX_OPERATIONS
    {
        return;
    }
    let (at, _) = operations.insert_full((service.to_owned(), name.to_owned()));
    gathered.last_operation = Some(at);
    if !gathered.chunk.operations.contains(&at) {
        gathered.chunk.operations.push(at);
    }
}

/// Unix nanoseconds; databases have no numbers above this.
pub fn time(value: Value<'_>) -> u64 {
    value.number().min(i64::MAX as u64)
}

fn cut(text: &str) -> &str {
    let longest = text.len().min(MAX_NAME_BYTES);
    let end = (0..=longest).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

fn see<'a>(keys: &Keys, seen: &mut Seen<'a>, list: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    seen.0.clear();
    for (key, value) in list {
        if let Some(watched) = keys.find(key).and_then(|asked| asked.watched) {
            seen.0.push((watched, value));
        }
    }
}

/// The field with the attributes, by the field of the Metric that holds the data points.
fn attributes_of_point(data: u32) -> u32 {
    match data {
        metric::HISTOGRAM => histogram_point::ATTRIBUTES,
        metric::EXPONENTIAL_HISTOGRAM => exponential_point::ATTRIBUTES,
        metric::SUMMARY => summary_point::ATTRIBUTES,
        _ => number_point::ATTRIBUTES,
    }
}
