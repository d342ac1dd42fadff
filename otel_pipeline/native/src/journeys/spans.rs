//! Reads of stored spans what runs are made of.
#![forbid(unsafe_code)]

use super::extract::{SERVICE, time};
use super::names::{LeftOut, Name, Named, Names, first, nearest, text_of, watch};
use super::plan::Plan;
use crate::aggregate::extract::{span_number, trace_number};
use crate::aggregate::intern::{Interner, Symbol};
use crate::aggregate::keys::{Keys, Lists};
use crate::aggregate::plan::Item;
use crate::aggregate::select::Candidate;
use crate::aggregate::usage::Usage;
use crate::aggregate::usage::rules::{RuleSpec, UsageRules};
use crate::otlp::{
    AnyValue, Context, RESOURCE_ATTRIBUTES, attributes, child, for_each_item, key_value, number,
    scope, span, text,
};
use crate::wire::fields;

const STATUS_ERROR: u64 = 2;
/// Of an event. Source: OpenTelemetry's conventions for exceptions.
const ERROR_MESSAGE: &str = "exception.message";
/// Of a failure that does not say what it is. Source: OpenTelemetry's conventions, `error.type`.
const OTHER_ERROR: &str = "_OTHER";
/// A rule answered for the person, who did not step in (`semconv/registry/intervention.yaml`).
const NO_INTERVENTION: &str = "automatic";
/// Of texts that people read: names, messages, facts.
const MAX_TEXT_BYTES: usize = 300;

/// One span as far as runs need it. Texts are empty where nothing is told.
#[derive(Debug, Default)]
pub struct Span {
    /// 0 where it has none.
    pub id: u64,
    /// 0 for the root.
    pub parent_id: u64,
    pub start_ns: u64,
    pub end_ns: u64,
    pub name: String,
    pub service: String,
    pub stage: String,
    pub agent: String,
    pub outcome: String,
    /// What a rule says: that it is a run of its stage, or none.
    pub mark: Option<bool>,
    pub is_noise: bool,
    pub is_failed: bool,
    pub is_intervention: bool,
    pub error_type: String,
    pub error_message: String,
    pub model: Symbol,
    pub keys: Vec<Name>,
    pub links: Vec<u128>,
    /// By place in the plan.
    pub facts: Vec<(usize, String)>,
    pub usage: Option<Usage>,
    /// What tells two versions of one span apart.
    pub item: Vec<u8>,
}

pub struct SpanReader {
    keys: Keys,
    pub names: Names,
    fields: Watched,
    usage: Option<UsageRules>,
    failure: String,
    named: Vec<Named>,
}

struct Watched {
    stage: Vec<u32>,
    service: Vec<u32>,
    agent: Vec<u32>,
    outcome: Vec<u32>,
    stage_run: Vec<u32>,
    noise: Vec<u32>,
    model: Vec<u32>,
    error_type: Vec<u32>,
    error_message: Vec<u32>,
    intervention: Vec<u32>,
    facts: Vec<Vec<u32>>,
}

impl Watched {
    fn new(plan: &Plan, keys: &mut Keys) -> Self {
        let mut one = |name: &str| vec![keys.watch(name)];
        let run = &plan.run;
        Self {
            stage: one(&run.stage),
            service: one(SERVICE),
            agent: one(&run.agent),
            outcome: one(&run.outcome),
            stage_run: one(&run.stage_run),
            noise: one(&run.noise),
            model: one(&run.model),
            error_type: one(&run.error_type),
            error_message: one(ERROR_MESSAGE),
            intervention: watch(&run.intervention, keys),
            facts: plan.facts.iter().map(|names| watch(names, keys)).collect(),
        }
    }
}

impl SpanReader {
    /// Takes the rules for usage out of the plan.
    pub fn new(plan: &mut Plan) -> Result<Self, String> {
        let mut keys = Keys::default();
        let names = Names::new(plan, &mut keys);
        let fields = Watched::new(plan, &mut keys);
        let rules = plan
            .usage
            .as_mut()
            .map(|usage| std::mem::take(&mut usage.rules));
        let of_spans = |rules: Vec<RuleSpec>| {
            let rules = rules.into_iter();
            rules
                .filter(|rule| rule.item == Item::Span)
                .collect::<Vec<_>>()
        };
        let usage = rules.map(|rules| UsageRules::new(Item::Span, of_spans(rules), &mut keys));
        Ok(Self {
            keys,
            names,
            fields,
            usage: usage.transpose()?,
            failure: plan.run.failure.clone(),
            named: Vec::new(),
        })
    }

    /// The kind that an attribute names.
    pub fn kind_of(&self, attribute: &str) -> Option<u8> {
        let watched = self
            .keys
            .find(attribute.as_bytes())
            .and_then(|asked| asked.watched);
        watched.and_then(|watched| self.names.kind_of(watched))
    }

    /// Calls `take` with every span of a TracesData message.
    pub fn read(&mut self, message: &[u8], interner: &mut Interner, mut take: impl FnMut(Span)) {
        let mut lists = Lists::default();
        for_each_item(message, |context, item| {
            take(self.span(context, item, &mut lists, interner));
        });
    }

    fn span<'a>(
        &mut self,
        context: &Context<'a>,
        item: &'a [u8],
        lists: &mut Lists<'a>,
        interner: &mut Interner,
    ) -> Span {
        self.enter(context, lists);
        let mut found = Span::default();
        let (mut name, mut status, mut kind): (&[u8], &[u8], usize) = (&[], &[], 0);
        for field in fields(item).flatten() {
            let value = field.value;
            match field.number {
                span::ATTRIBUTES => {
                    let (key, value) = key_value(value.bytes());
                    if let Some(watched) = self.keys.find(key).and_then(|asked| asked.watched) {
                        lists.item.0.push((watched, value));
                    }
                }
                span::SPAN_ID => found.id = span_number(value.bytes()).unwrap_or_default(),
                span::PARENT_SPAN_ID => {
                    found.parent_id = span_number(value.bytes()).unwrap_or_default();
                }
                span::NAME => name = value.bytes(),
                span::KIND => kind = value.number() as usize,
                span::START => found.start_ns = time(value),
                span::END => found.end_ns = time(value),
                span::STATUS => status = value.bytes(),
                span::LINKS => {
                    let linked = trace_number(child(value.bytes(), span::TRACE_ID));
                    found.links.extend(linked);
                }
                _ => {}
            }
        }
        let code = number(status, span::STATUS_CODE);
        let candidate = Candidate {
            name,
            kind,
            status: code as usize,
            item,
            seen: &lists.item,
        };
        found.name = shown(text(name));
        if let Some(usage) = &mut self.usage {
            let mut refused = 0;
            found.usage = usage.read(
                &candidate,
                lists,
                context.resource,
                found.end_ns,
                &mut refused,
            );
        }
        self.attributes(lists, &mut found, interner);
        self.error(lists, item, status, code, &mut found);
        found.item = item.to_vec();
        found
    }

    fn enter<'a>(&mut self, context: &Context<'a>, lists: &mut Lists<'a>) {
        if context.new_scope {
            if let Some(usage) = &mut self.usage {
                usage.enter(context);
            }
        }
        let mut see = |message: &'a [u8], number: u32, of_resource: bool| {
            let seen = if of_resource {
                &mut lists.resource
            } else {
                &mut lists.scope
            };
            seen.0.clear();
            for (key, value) in attributes(message, number) {
                if let Some(watched) = self.keys.find(key).and_then(|asked| asked.watched) {
                    seen.0.push((watched, value));
                }
            }
        };
        if context.new_resource {
            see(context.resource, RESOURCE_ATTRIBUTES, true);
        }
        if context.new_scope {
            see(context.scope, scope::ATTRIBUTES, false);
        }
        lists.item.0.clear();
    }

    fn attributes(&mut self, lists: &Lists<'_>, found: &mut Span, interner: &mut Interner) {
        let told = |keys: &[u32]| nearest(lists, keys).and_then(text_of);
        let shown_text = |keys: &[u32]| told(keys).map_or_else(String::new, |text| shown(&text));
        let fields = &self.fields;
        found.stage = shown_text(&fields.stage);
        found.service = shown_text(&fields.service);
        found.agent = shown_text(&fields.agent);
        found.outcome = shown_text(&fields.outcome);
        found.mark = told(&fields.stage_run).map(|text| text == "true");
        let intervention = first(&lists.item, &fields.intervention).and_then(text_of);
        found.is_intervention = intervention.is_some_and(|kind| kind != NO_INTERVENTION);
        found.is_noise = told(&fields.noise).is_some_and(|text| text == "true");
        found.model = told(&fields.model).map_or(0, |text| interner.intern(&text));
        for (place, keys) in fields.facts.iter().enumerate() {
            let fact = shown_text(keys);
            if !fact.is_empty() {
                found.facts.push((place, fact));
            }
        }
        self.names
            .read(lists, &mut self.named, &mut LeftOut::default());
        found
            .keys
            .extend(self.named.drain(..).map(|named| named.name));
    }

    fn error(&self, lists: &Lists<'_>, item: &[u8], status: &[u8], code: u64, found: &mut Span) {
        found.is_failed = match found.outcome.is_empty() {
            true => code == STATUS_ERROR,
            false => found.outcome == self.failure,
        };
        if !found.is_failed {
            return;
        }
        let kind = first(&lists.item, &self.fields.error_type).and_then(text_of);
        found.error_type = kind.map_or_else(|| OTHER_ERROR.to_owned(), |text| shown(&text));
        let message = text(child(status, span::STATUS_MESSAGE));
        found.error_message = match message {
            "" => self.message_of_events(item),
            message => shown(message),
        };
    }

    /// What an event of the span says of its failure, the last one first.
    fn message_of_events(&self, item: &[u8]) -> String {
        let mut message = String::new();
        for event in fields(item)
            .flatten()
            .filter(|field| field.number == span::EVENTS)
        {
            for (key, value) in attributes(event.value.bytes(), span::EVENT_ATTRIBUTES) {
                let watched = self.keys.find(key).and_then(|asked| asked.watched);
                let is_message =
                    watched.is_some_and(|one| self.fields.error_message.contains(&one));
                if let (true, AnyValue::Str(text)) = (is_message, AnyValue::parse(value)) {
                    message = shown(text);
                }
            }
        }
        message
    }
}

/// As much of a text as is shown.
fn shown(text: &str) -> String {
    let longest = text.len().min(MAX_TEXT_BYTES);
    let end = (0..=longest).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].to_owned()
}
