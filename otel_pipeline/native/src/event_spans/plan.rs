//! Which log records stand for work and what spans they make: the plan as `otel_pipeline.semconv` writes it, made ready.
#![forbid(unsafe_code)]

use serde::Deserialize;

use crate::aggregate::keys::{Keys, Seen};
use crate::aggregate::select::{Selection, SelectorSpec};
use crate::aggregate::text::number;
use crate::matcher::{Scalar, matches_glob};
use crate::otlp::{AnyValue, any, key_value, span};
use crate::wire::{put_bytes_field, put_message, put_varint_field};

/// `_native.pyi` documents it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSpec {
    pub rules: Vec<RuleSpec>,
    /// How the senders of the rules are recognised, on log records and on spans.
    pub senders: Vec<SelectorSpec>,
    /// What enrichment writes on records: no part of what a record is.
    pub canonical: Vec<String>,
    /// The attribute of the spans that tells what they were made of.
    pub derived_from: String,
    pub limits: Limits,
}

/// Times are nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub wait_ns: u64,
    pub prompt_idle_ns: u64,
    pub memory_ns: u64,
    pub max_sessions: usize,
    pub max_held_bytes: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    selector: SelectorSpec,
    /// Index of `senders`.
    sender: u32,
    name: String,
    kind: u8,
    opens_prompt: bool,
    session: Vec<String>,
    prompt: Vec<String>,
    duration: Option<DurationSpec>,
    status: ValueSpec,
    attributes: Vec<(String, ValueSpec)>,
    carry: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DurationSpec {
    attributes: Vec<String>,
    /// Of one unit.
    ns: f64,
}

/// A literal, or the first of some attributes of the record, as it is or translated.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ValueSpec {
    Literal(Scalar),
    From(Vec<String>, Vec<(String, Scalar)>),
}

/// Longer durations are mistakes.
const MAX_DURATION_NS: f64 = 31.0 * 86_400e9;

pub struct Plan {
    pub keys: Keys,
    /// By number of the key: whether enrichment writes it.
    pub is_canonical: Vec<bool>,
    pub selection: Selection,
    pub rules: Vec<Rule>,
    /// For spans: their senders, and where sessions and our own mark are found.
    pub span_keys: Keys,
    pub senders: Selection,
    pub span_sessions: Vec<u32>,
    pub mark: u32,
    pub limits: Limits,
}

pub struct Rule {
    pub sender: u32,
    pub opens_prompt: bool,
    pub session: Vec<u32>,
    pub prompt: Vec<u32>,
    duration: Option<(Vec<u32>, f64)>,
    status: Value,
    attributes: Vec<(String, Value)>,
    carry: Vec<(String, u32)>,
    /// Name, kind and mark, as they stand in every span of the rule.
    head: Vec<u8>,
}

enum Value {
    Literal(Scalar),
    From(Vec<u32>, Vec<(String, Scalar)>),
}

impl Plan {
    /// The error says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let spec: PlanSpec = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let (mut keys, mut span_keys) = (Keys::default(), Keys::default());
        let (mut selection, mut senders) = (Selection::default(), Selection::default());
        let mut span_sessions = Vec::new();
        for sender in spec.senders {
            senders.add(sender, &mut span_keys)?;
        }
        for key in spec.rules.iter().flat_map(|rule| &rule.session) {
            let number = span_keys.watch(key);
            if !span_sessions.contains(&number) {
                span_sessions.push(number);
            }
        }
        let mut rules = Vec::new();
        for mut rule in spec.rules {
            selection.add(std::mem::take(&mut rule.selector), &mut keys)?;
            rules.push(Rule::new(rule, &spec.derived_from, &mut keys));
        }
        let canonical: Vec<_> = spec.canonical.iter().map(|key| keys.watch(key)).collect();
        let mut is_canonical = vec![false; keys.watched()];
        for number in canonical {
            is_canonical[number as usize] = true;
        }
        Ok(Self {
            is_canonical,
            mark: span_keys.watch(&spec.derived_from),
            keys,
            selection,
            rules,
            span_keys,
            senders,
            span_sessions,
            limits: spec.limits,
        })
    }
}

impl Rule {
    fn new(spec: RuleSpec, derived_from: &str, keys: &mut Keys) -> Self {
        let mut head = Vec::new();
        put_bytes_field(&mut head, span::NAME, spec.name.as_bytes());
        put_varint_field(&mut head, span::KIND, u64::from(spec.kind));
        put_literal(
            derived_from,
            &Scalar::Text("log_record".to_owned()),
            &mut head,
        );
        let mut watch = |named: &[String]| named.iter().map(|key| keys.watch(key)).collect();
        let duration = spec.duration.map(|one| (watch(&one.attributes), one.ns));
        let mut value = |spec| match spec {
            ValueSpec::Literal(literal) => Value::Literal(literal),
            ValueSpec::From(named, table) => Value::From(watch(&named), table),
        };
        let (status, attributes) = (value(spec.status), spec.attributes.into_iter());
        let attributes = attributes.map(|(key, one)| (key, value(one))).collect();
        let (session, prompt) = (watch(&spec.session), watch(&spec.prompt));
        let carry = spec.carry.into_iter();
        Self {
            sender: spec.sender,
            opens_prompt: spec.opens_prompt,
            session,
            prompt,
            duration,
            status,
            attributes,
            carry: carry.map(|key| (key.clone(), keys.watch(&key))).collect(),
            head,
        }
    }

    /// How long the work took; None where the record should tell it and does not, or tells nonsense.
    pub fn duration_ns(&self, seen: &Seen<'_>) -> Option<u64> {
        let Some((keys, unit_ns)) = &self.duration else {
            return Some(0);
        };
        let told = number(keys.iter().find_map(|key| seen.get(*key))?)? * unit_ns;
        (0.0..=MAX_DURATION_NS)
            .contains(&told)
            .then_some(told as u64)
    }

    /// Everything of the span but its ids and times.
    pub fn body(&self, seen: &Seen<'_>) -> Vec<u8> {
        let mut out = self.head.clone();
        for (key, number) in &self.carry {
            if let Some(value) = raw(seen, *number) {
                put_raw(key, value, &mut out);
            }
        }
        for (key, value) in &self.attributes {
            value.put(key, seen, &mut out);
        }
        let code = match self.status.text(seen) {
            Some("ok") => 1,
            Some("error") => 2,
            _ => return out,
        };
        put_message(&mut out, span::STATUS, |out| {
            put_varint_field(out, span::STATUS_CODE, code);
        });
        out
    }
}

impl Value {
    fn put(&self, key: &str, seen: &Seen<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Literal(literal) => put_literal(key, literal, out),
            Self::From(keys, table) if table.is_empty() => {
                if let Some(value) = keys.iter().find_map(|number| raw(seen, *number)) {
                    put_raw(key, value, out);
                }
            }
            Self::From(keys, table) => {
                if let Some(found) = translated(keys, table, seen) {
                    put_literal(key, found, out);
                }
            }
        }
    }

    fn text(&self, seen: &Seen<'_>) -> Option<&str> {
        let found = match self {
            Self::Literal(literal) => literal,
            Self::From(keys, table) => translated(keys, table, seen)?,
        };
        match found {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn translated<'t>(
    keys: &[u32],
    table: &'t [(String, Scalar)],
    seen: &Seen<'_>,
) -> Option<&'t Scalar> {
    let value = keys.iter().find_map(|key| seen.get(*key))?;
    let number;
    let text = match value {
        AnyValue::Str(text) => text,
        AnyValue::Bool(true) => "true",
        AnyValue::Bool(false) => "false",
        AnyValue::Int(value) => {
            number = value.to_string();
            &number
        }
        _ => return None,
    };
    let fits = table.iter().find(|(glob, _)| matches_glob(glob, text));
    fits.map(|(_, scalar)| scalar)
}

/// The AnyValue message of a watched key, where it says something.
pub fn raw<'a>(seen: &Seen<'a>, number: u32) -> Option<&'a [u8]> {
    let found = seen.0.iter().find(|(one, _)| *one == number)?;
    let says = !matches!(
        AnyValue::parse(found.1),
        AnyValue::Empty | AnyValue::Str("")
    );
    says.then_some(found.1)
}

fn put_raw(key: &str, value: &[u8], out: &mut Vec<u8>) {
    put_message(out, span::ATTRIBUTES, |out| {
        put_bytes_field(out, key_value::KEY, key.as_bytes());
        put_bytes_field(out, key_value::VALUE, value);
    });
}

fn put_literal(key: &str, literal: &Scalar, out: &mut Vec<u8>) {
    let mut value = Vec::new();
    match literal {
        Scalar::Bool(flag) => put_varint_field(&mut value, any::BOOL, u64::from(*flag)),
        Scalar::Int(number) => put_varint_field(&mut value, any::INT, *number as u64),
        Scalar::Text(text) => put_bytes_field(&mut value, any::STRING, text.as_bytes()),
    }
    put_raw(key, &value, out);
}
