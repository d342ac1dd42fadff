//! What a pass found and why, as JSON for people who wonder: keys and canonical values, no other contents.
#![forbid(unsafe_code)]

use rustc_hash::FxHashMap;
use serde_json::{Map, Value as Json, json};

use super::item::{Ids, Item};
use super::observe::Observer;
use super::plan::{Mask, Plan, Stage};
use super::rule_set::members;
use super::value::Value;
use crate::otlp::{AnyValue, RESOURCE_ATTRIBUTES, attributes, child, scope, text};

/// Where a value came from.
#[derive(Clone, Copy)]
enum Origin {
    /// The attribute's own key (0) or an alias.
    Sent(u8),
    Rule(usize),
    /// Another span, by index.
    Span(usize),
}

/// A resource, a scope or an item.
struct Node<'a> {
    stage: Stage,
    name: &'a str,
    ids: Ids<'a>,
    keys: Vec<&'a str>,
    rules: Vec<usize>,
    values: Vec<(usize, Value<'a>, Origin)>,
}

/// Writes down everything, in wire order.
pub struct Recorder<'a> {
    plan: &'a Plan,
    nodes: Vec<Node<'a>>,
    /// The nodes that are spans.
    spans: Vec<usize>,
    /// From which span another has a value of an attribute.
    inherited: FxHashMap<(usize, usize), usize>,
}

impl<'a> Observer<'a> for Recorder<'a> {
    const WANTS_ALL_RULES: bool = true;

    fn resource(&mut self, body: &'a [u8]) {
        let service =
            attributes(body, RESOURCE_ATTRIBUTES).find(|(key, _)| *key == b"service.name");
        let name = match service.map(|(_, value)| AnyValue::parse(value)) {
            Some(AnyValue::Str(name)) => name,
            _ => "",
        };
        self.begin(Stage::Resource, name, body, RESOURCE_ATTRIBUTES);
    }

    fn scope(&mut self, body: &'a [u8]) {
        let name = text(child(body, scope::NAME));
        self.begin(Stage::Scope, name, body, scope::ATTRIBUTES);
    }

    fn item(&mut self, item: &Item<'a>) {
        if item.stage() == Stage::Span {
            self.spans.push(self.nodes.len());
        }
        let known = |name: &&str| !item.is_said || self.plan.names.contains_key(*name);
        let name = item.name.filter(known).unwrap_or("");
        self.begin(item.stage(), name, item.body, item.attributes);
        if let Some(node) = self.nodes.last_mut() {
            node.ids = item.ids;
        }
    }

    fn sent(&mut self, attribute: usize, preference: u8, value: Value<'a>) {
        self.put(attribute, value, Origin::Sent(preference));
    }

    fn matched(&mut self, rule: usize) {
        if let Some(node) = self.nodes.last_mut() {
            node.rules.push(rule);
        }
    }

    fn ruled(&mut self, rule: usize, attribute: usize, value: Value<'a>) {
        self.put(attribute, value, Origin::Rule(rule));
    }

    fn inherited(&mut self, span: usize, from: usize, attribute: usize, value: Value<'a>) {
        self.inherited.insert((span, attribute), from);
        let node = self.spans.get(span).copied();
        if let Some(node) = node.and_then(|node| self.nodes.get_mut(node)) {
            node.values.push((attribute, value, Origin::Span(from)));
        }
    }
}

impl<'a> Recorder<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            nodes: Vec::new(),
            spans: Vec::new(),
            inherited: FxHashMap::default(),
        }
    }

    fn begin(&mut self, stage: Stage, name: &'a str, body: &'a [u8], field: u32) {
        self.nodes.push(Node {
            stage,
            name,
            ids: Ids::default(),
            keys: attributes(body, field).map(|(key, _)| text(key)).collect(),
            rules: Vec::new(),
            values: Vec::new(),
        });
    }

    fn put(&mut self, attribute: usize, value: Value<'a>, origin: Origin) {
        if let Some(node) = self.nodes.last_mut() {
            node.values.retain(|(one, _, _)| *one != attribute);
            node.values.push((attribute, value, origin));
        }
    }

    /// Every resource, scope and item, each before what is below it.
    pub fn json(&self) -> String {
        let (mut resource, mut scope): (Mask, Mask) = (0, 0);
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let own = node.values.iter().fold(0, |mask, one| mask | 1 << one.0);
            let unknown = match node.stage {
                Stage::Resource => {
                    (resource, scope) = (own, 0);
                    0
                }
                Stage::Scope => {
                    scope = own;
                    0
                }
                _ => self.plan.expected & !(own | resource | scope),
            };
            nodes.push(self.node(node, unknown));
        }
        Json::Array(nodes).to_string()
    }

    fn node(&self, node: &Node<'a>, unknown: Mask) -> Json {
        let mut told = Map::new();
        let kind = match node.stage {
            Stage::Resource => "resource",
            Stage::Scope => "scope",
            Stage::Span => "span",
            Stage::Event => "event",
            Stage::Point => "point",
        };
        told.insert("kind".to_owned(), json!(kind));
        told.insert("name".to_owned(), json!(node.name));
        let ids = [
            ("trace_id", node.ids.trace_id),
            ("span_id", node.ids.span_id),
            ("parent_span_id", node.ids.parent_id),
        ];
        for (name, id) in ids.into_iter().filter(|(_, id)| !id.is_empty()) {
            told.insert(name.to_owned(), json!(hex(id)));
        }
        let values = node.values.iter().map(|one| self.value(one));
        let unknown = members(unknown).map(|attribute| &self.plan.attributes[attribute].key);
        told.insert("values".to_owned(), values.collect());
        told.insert("rules".to_owned(), json!(node.rules));
        told.insert(
            "unknown".to_owned(),
            unknown.map(|key| json!(key)).collect(),
        );
        told.insert("unread".to_owned(), self.unread(node));
        Json::Object(told)
    }

    fn value(&self, (attribute, value, origin): &(usize, Value<'a>, Origin)) -> Json {
        let known = &self.plan.attributes[*attribute];
        let value = match value {
            Value::Bool(flag) => json!(flag),
            Value::Text(text) => json!(text),
            Value::Number(number) => json!(number.to_string()),
        };
        let from = match origin {
            Origin::Sent(0) => json!({"attribute": known.key}),
            Origin::Sent(preference) => {
                json!({"attribute": known.aliases.get(usize::from(*preference) - 1)})
            }
            Origin::Rule(rule) => json!({"rule": rule}),
            Origin::Span(span) => {
                let teller = self.teller(*span, *attribute);
                json!({
                    "span_id": teller.map(|node| hex(node.ids.span_id)),
                    "span_name": teller.map(|node| node.name),
                })
            }
        };
        json!({"attribute": known.key, "value": value, "from": from})
    }

    /// The span that an inherited value comes from in the end.
    fn teller(&self, mut span: usize, attribute: usize) -> Option<&Node<'a>> {
        while let Some(from) = self.inherited.get(&(span, attribute)) {
            span = *from;
        }
        self.spans.get(span).and_then(|node| self.nodes.get(*node))
    }

    /// Keys that neither a canonical attribute nor a rule looks at.
    fn unread(&self, node: &Node<'a>) -> Json {
        let keys = node.keys.iter();
        let unread = keys.filter(|key| !self.plan.keys.contains_key(key.as_bytes()));
        unread.map(|key| json!(key)).collect()
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
