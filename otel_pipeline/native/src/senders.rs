//! Who sends: what came from each sender (service, project, signal), counted by resource in one pass over a batch.
//!
//! The pure half, `Table`, knows nothing of Python.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use crate::batch::Batch;
use crate::otlp::{
    AnyValue, ITEMS, RESOURCE, RESOURCE_ATTRIBUTES, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, Signal,
    attributes, child, children, data_points, log, points, scope, span, text,
};

const PROJECT: &[u8] = b"sdlc.project.id";
/// What stands for senders over the limit.
const OTHER: &str = "_other";
const UNKNOWN_SERVICE: &str = "unknown_service";
const UNKNOWN: &str = "unknown";
const MAX_TEXT_BYTES: usize = 200;
/// A rate is that of the last minute, kept in six parts.
const PART_NS: u64 = 10_000_000_000;
const PARTS: usize = 6;
const MAX_PROTOCOLS: usize = 8;
const LARGE_BYTES: usize = 1 << 16;

/// What is known of one sender.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub first_seen_ns: u64,
    pub last_seen_ns: u64,
    pub requests: u64,
    pub items: u64,
    pub protocols: Vec<String>,
    /// Name, language and version of the SDK, or of the first scope where no SDK tells.
    pub sdk: [String; 3],
    recent: [u64; PARTS],
    part: u64,
}

impl Facts {
    fn count(&mut self, items: u64, now_ns: u64) {
        self.turn(now_ns);
        self.recent[(self.part % PARTS as u64) as usize] += items;
        self.items = self.items.saturating_add(items);
        self.requests += 1;
        self.last_seen_ns = self.last_seen_ns.max(now_ns);
    }

    /// Empties the parts of the last minute that are over.
    fn turn(&mut self, now_ns: u64) {
        let part = now_ns / PART_NS;
        let over = part.saturating_sub(self.part).min(PARTS as u64);
        for step in 1..=over {
            self.recent[((self.part + step) % PARTS as u64) as usize] = 0;
        }
        self.part = self.part.max(part);
    }

    /// Items a second over the last minute, or since the first item where that is later.
    pub fn rate(&mut self, now_ns: u64) -> f64 {
        self.turn(now_ns);
        let part_begin = self.part.saturating_sub(PARTS as u64 - 1) * PART_NS;
        let begin = part_begin.max(self.first_seen_ns);
        let seconds = (now_ns.saturating_sub(begin) as f64 / 1e9).max(1.0);
        self.recent.iter().sum::<u64>() as f64 / seconds
    }

    fn came_by(&mut self, protocol: &str) {
        let known = protocol.is_empty() || self.protocols.iter().any(|one| one == protocol);
        if !known && self.protocols.len() < MAX_PROTOCOLS {
            self.protocols.push(protocol.to_owned());
        }
    }

    fn made_with(&mut self, sdk: [&str; 3]) {
        for (known, told) in self.sdk.iter_mut().zip(sdk) {
            if known != told {
                told.clone_into(known);
            }
        }
    }
}

/// What one resource says of its sender.
#[derive(Default)]
struct Told<'a> {
    service: &'a str,
    project: &'a str,
    sdk: [&'a str; 3],
}

impl<'a> Told<'a> {
    fn read(resource: &'a [u8]) -> Self {
        let mut told = Self::default();
        for (key, value) in attributes(resource, RESOURCE_ATTRIBUTES) {
            let place = match key {
                b"service.name" => &mut told.service,
                PROJECT => &mut told.project,
                b"telemetry.sdk.name" => &mut told.sdk[0],
                b"telemetry.sdk.language" => &mut told.sdk[1],
                b"telemetry.sdk.version" => &mut told.sdk[2],
                _ => continue,
            };
            if let AnyValue::Str(value) = AnyValue::parse(value) {
                *place = cut(value);
            }
        }
        told
    }

    /// Fills in what the resource leaves open, from its first scope and item.
    fn complete(&mut self, signal: Signal, resource_items: &'a [u8]) {
        let first_scope = child(resource_items, SCOPE_ITEMS);
        if self.sdk[0].is_empty() && self.sdk[1].is_empty() {
            let scope = child(first_scope, SCOPE);
            self.sdk[0] = cut(text(child(scope, scope::NAME)));
            self.sdk[2] = cut(text(child(scope, scope::VERSION)));
        }
        if self.project.is_empty() {
            self.project = project_of_item(signal, child(first_scope, ITEMS));
        }
        if self.project.is_empty() {
            self.project = UNKNOWN;
        }
        if self.service.is_empty() {
            self.service = UNKNOWN_SERVICE;
        }
    }
}

fn project_of_item(signal: Signal, item: &[u8]) -> &str {
    let (body, number) = match signal {
        Signal::Traces => (item, span::ATTRIBUTES),
        Signal::Logs => (item, log::ATTRIBUTES),
        Signal::Metrics => match points(item).next() {
            Some((kind, point)) => (point, crate::rows::point_attributes(kind)),
            None => return "",
        },
    };
    let found = attributes(body, number).find(|(key, _)| *key == PROJECT);
    match found.map(|(_, value)| AnyValue::parse(value)) {
        Some(AnyValue::Str(value)) => cut(value),
        _ => "",
    }
}

/// The first characters of a text, at most `MAX_TEXT_BYTES`.
fn cut(text: &str) -> &str {
    if text.len() <= MAX_TEXT_BYTES {
        return text;
    }
    let mut end = MAX_TEXT_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn items_of(signal: Signal, resource_items: &[u8]) -> u64 {
    let scopes = children(resource_items, SCOPE_ITEMS).flatten();
    let items = scopes.flat_map(|scope| children(scope.value.bytes(), ITEMS).flatten());
    match signal {
        Signal::Metrics => items.map(|item| data_points(item.value.bytes())).sum(),
        Signal::Traces | Signal::Logs => items.count() as u64,
    }
}

type Projects = HashMap<String, Facts>;

/// Senders by signal, service and project, at most `limit`; what is over is added up as `_other`.
pub struct Table {
    signals: [HashMap<String, Projects>; 3],
    limit: usize,
    forget_after_ns: u64,
    known: usize,
    /// No sender is due to be forgotten before.
    next_sweep_ns: u64,
}

impl Table {
    pub fn new(limit: usize, forget_after_ns: u64) -> Self {
        Self {
            signals: Default::default(),
            limit,
            forget_after_ns,
            known: 0,
            next_sweep_ns: 0,
        }
    }

    /// Counts a request of `items` items.
    pub fn update(
        &mut self,
        signal: Signal,
        message: &[u8],
        items: u64,
        protocol: &str,
        now_ns: u64,
    ) {
        let mut resources = children(message, RESOURCE_ITEMS).flatten().peekable();
        let mut first = true;
        while let Some(resource_items) = resources.next() {
            let body = resource_items.value.bytes();
            let alone = first && resources.peek().is_none();
            first = false;
            let mut told = Told::read(child(body, RESOURCE));
            told.complete(signal, body);
            let items = if alone { items } else { items_of(signal, body) };
            let facts = self.facts(signal, &told, now_ns);
            facts.count(items, now_ns);
            facts.came_by(protocol);
            facts.made_with(told.sdk);
        }
    }

    fn facts(&mut self, signal: Signal, told: &Told<'_>, now_ns: u64) -> &mut Facts {
        let services = &self.signals[signal as usize];
        let is_known = services
            .get(told.service)
            .is_some_and(|projects| projects.contains_key(told.project));
        if !is_known && self.known >= self.limit {
            self.forget(now_ns);
        }
        let (service, project) = match is_known || self.known < self.limit {
            true => (told.service, told.project),
            false => (OTHER, OTHER),
        };
        if !is_known && service != OTHER {
            self.known += 1;
        }
        let services = &mut self.signals[signal as usize];
        if !services.contains_key(service) {
            services.insert(service.to_owned(), Projects::new());
        }
        let projects = services.entry(service.to_owned()).or_default();
        projects.entry(project.to_owned()).or_insert_with(|| Facts {
            first_seen_ns: now_ns,
            part: now_ns / PART_NS,
            ..Facts::default()
        })
    }

    /// Makes room: senders that were silent for the time given are forgotten. Looks at most once a second.
    fn forget(&mut self, now_ns: u64) {
        if now_ns < self.next_sweep_ns {
            return;
        }
        self.next_sweep_ns = now_ns.saturating_add(1_000_000_000);
        let oldest = now_ns.saturating_sub(self.forget_after_ns);
        self.known = 0;
        for services in &mut self.signals {
            for (service, projects) in services.iter_mut() {
                projects.retain(|_, facts| facts.last_seen_ns >= oldest);
                if service != OTHER {
                    self.known += projects.len();
                }
            }
            services.retain(|_, projects| !projects.is_empty());
        }
    }

    /// Every sender, ordered by service, project and signal, with the rate of the last minute.
    pub fn read(&mut self, now_ns: u64) -> Vec<(String, String, Signal, Facts, f64)> {
        let mut all = Vec::with_capacity(self.known);
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            for (service, projects) in &mut self.signals[signal as usize] {
                for (project, facts) in projects {
                    let rate = facts.rate(now_ns);
                    all.push((
                        service.clone(),
                        project.clone(),
                        signal,
                        facts.clone(),
                        rate,
                    ));
                }
            }
        }
        all.sort_by(|a, b| (&a.0, &a.1, a.2 as usize).cmp(&(&b.0, &b.1, b.2 as usize)));
        all
    }
}

/// The Python face of `Table`; see `_native.pyi`.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct SenderTable(Mutex<Table>);

impl SenderTable {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl SenderTable {
    #[new]
    #[pyo3(signature = (*, max_senders, forget_after_ns))]
    fn new(max_senders: usize, forget_after_ns: u64) -> Self {
        Self(Mutex::new(Table::new(max_senders, forget_after_ns)))
    }

    fn update(&self, py: Python<'_>, batch: &Batch, protocol: &str, now_ns: u64) {
        let (signal, data, items) = (batch.signal, batch.bytes(py), batch.item_count());
        let run = || self.lock().update(signal, data, items, protocol, now_ns);
        // To let other threads run costs as much as the pass over a small request.
        match data.len() > LARGE_BYTES {
            true => py.detach(run),
            false => run(),
        }
    }

    fn read(&self, py: Python<'_>, now_ns: u64) -> Vec<Sender> {
        let all = py.detach(|| self.lock().read(now_ns));
        all.into_iter()
            .map(|(service, project, signal, facts, rate)| Sender {
                service,
                project,
                signal: signal.name(),
                first_seen_ns: facts.first_seen_ns,
                last_seen_ns: facts.last_seen_ns,
                requests: facts.requests,
                items: facts.items,
                items_per_second: rate,
                protocols: facts.protocols,
                sdk: facts.sdk.into(),
            })
            .collect()
    }
}

/// One row of the table; see `_native.pyi`.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct Sender {
    pub service: String,
    pub project: String,
    pub signal: &'static str,
    pub first_seen_ns: u64,
    pub last_seen_ns: u64,
    pub requests: u64,
    pub items: u64,
    pub items_per_second: f64,
    pub protocols: Vec<String>,
    pub sdk: (String, String, String),
}

/// `service.name` of the first resource of bytes that need not be a request; empty where there is none to be read.
#[pyfunction]
pub fn first_service(body: &[u8]) -> String {
    let resource = child(child(body, RESOURCE_ITEMS), RESOURCE);
    Told::read(resource).service.to_owned()
}
