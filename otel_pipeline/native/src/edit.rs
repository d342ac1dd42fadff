//! The attribute actions of the `attributes` and `resource` processors, compiled to a plan.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use regex::bytes::Regex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

use crate::batch::Batch;
use crate::otlp::{AnyValue, Context, RESOURCE_ATTRIBUTES, any, key_value};
use crate::rewrite::{Edit, Rewrite, rewrite};
use crate::rows::{RewriteRows, Row, rewrite_rows};
use crate::wire::{fields, put_bytes_field, put_fixed64_field, put_message, put_varint_field};

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum ActionText {
    Insert {
        key: String,
        source: SourceText,
    },
    Update {
        key: String,
        source: SourceText,
    },
    Upsert {
        key: String,
        source: SourceText,
    },
    Delete {
        key: Option<String>,
        pattern: Option<String>,
    },
    Hash {
        key: Option<String>,
        pattern: Option<String>,
    },
    Extract {
        key: String,
        pattern: String,
    },
    Convert {
        key: String,
        to: Kind,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum SourceText {
    Value(serde_json::Value),
    FromAttribute(String),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Int,
    Double,
    String,
}

enum Keys {
    One(Vec<u8>),
    Matching(Regex),
}

impl Keys {
    fn compile(key: Option<String>, pattern: Option<String>) -> Result<Self, String> {
        match (key, pattern) {
            (Some(key), None) => Ok(Self::One(key.into_bytes())),
            (None, Some(pattern)) => Ok(Self::Matching(regex(&pattern)?)),
            _ => Err("give either key or pattern".into()),
        }
    }

    fn hold(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Matching(pattern) => pattern.is_match(key),
        }
    }
}

enum Source {
    /// An AnyValue body.
    Value(Vec<u8>),
    Attribute(Vec<u8>),
}

enum Action {
    Set {
        key: Vec<u8>,
        source: Source,
        if_present: bool,
        if_absent: bool,
    },
    Delete(Keys),
    Hash(Keys),
    Extract {
        key: Vec<u8>,
        pattern: Regex,
    },
    Convert {
        key: Vec<u8>,
        to: Kind,
    },
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| error.to_string())
}

impl Action {
    fn compile(text: ActionText) -> Result<Self, String> {
        let set = |key: String, source, if_present, if_absent| {
            let source = match source {
                SourceText::FromAttribute(name) => Source::Attribute(name.into_bytes()),
                SourceText::Value(value) => Source::Value(literal(&value)?),
            };
            Ok(Action::Set {
                key: key.into_bytes(),
                source,
                if_present,
                if_absent,
            })
        };
        match text {
            ActionText::Insert { key, source } => set(key, source, false, true),
            ActionText::Update { key, source } => set(key, source, true, false),
            ActionText::Upsert { key, source } => set(key, source, true, true),
            ActionText::Delete { key, pattern } => Ok(Action::Delete(Keys::compile(key, pattern)?)),
            ActionText::Hash { key, pattern } => Ok(Action::Hash(Keys::compile(key, pattern)?)),
            ActionText::Extract { key, pattern } => Ok(Action::Extract {
                key: key.into_bytes(),
                pattern: regex(&pattern)?,
            }),
            ActionText::Convert { key, to } => Ok(Action::Convert {
                key: key.into_bytes(),
                to,
            }),
        }
    }

    fn apply<'a>(&self, attributes: &mut Attributes<'a>) {
        match self {
            Self::Set {
                key,
                source,
                if_present,
                if_absent,
            } => {
                let value = match source {
                    Source::Value(body) => Cow::Owned(body.clone()),
                    Source::Attribute(from) => match attributes.get(from) {
                        Some(value) => value.clone(),
                        None => return,
                    },
                };
                attributes.set(key, value, *if_present, *if_absent);
            }
            Self::Delete(keys) => attributes.delete(keys),
            Self::Hash(keys) => attributes.replace(keys, |body| Some(text_body(&sha256(body)))),
            Self::Extract { key, pattern } => attributes.extract(key, pattern),
            Self::Convert { key, to } => attributes.convert(key, *to),
        }
    }
}

/// Key and AnyValue body.
type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The attributes of one row, edited in place. `changed` tells whether a write is owed.
struct Attributes<'a> {
    list: Vec<Pair<'a>>,
    changed: bool,
}

impl<'a> Attributes<'a> {
    fn read(message: &'a [u8], number: u32) -> Self {
        let pairs = fields(message)
            .flatten()
            .filter(|field| field.number == number);
        let list = pairs.map(|field| key_value(field.value.bytes()));
        Self {
            list: list
                .map(|(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value)))
                .collect(),
            changed: false,
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Cow<'a, [u8]>> {
        self.list
            .iter()
            .find(|(found, _)| found.as_ref() == key)
            .map(|(_, value)| value)
    }

    fn set(&mut self, key: &[u8], value: Cow<'a, [u8]>, if_present: bool, if_absent: bool) {
        match self
            .list
            .iter_mut()
            .find(|(found, _)| found.as_ref() == key)
        {
            Some((_, old)) if if_present && *old != value => *old = value,
            None if if_absent => self.list.push((Cow::Owned(key.to_vec()), value)),
            _ => return,
        }
        self.changed = true;
    }

    fn delete(&mut self, keys: &Keys) {
        let before = self.list.len();
        self.list.retain(|(key, _)| !keys.hold(key));
        self.changed |= self.list.len() != before;
    }

    fn replace(&mut self, keys: &Keys, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        for (key, value) in &mut self.list {
            if !keys.hold(key) {
                continue;
            }
            if let Some(new) = change(value) {
                self.changed |= value.as_ref() != new;
                *value = Cow::Owned(new);
            }
        }
    }

    /// Every named group of the pattern becomes an attribute; no match changes nothing.
    fn extract(&mut self, key: &[u8], pattern: &Regex) {
        let Some(AnyValue::Str(text)) = self.get(key).map(|value| AnyValue::parse(value)) else {
            return;
        };
        let Some(captures) = pattern.captures(text.as_bytes()) else {
            return;
        };
        let found: Vec<_> = pattern
            .capture_names()
            .flatten()
            .filter_map(|name| {
                captures
                    .name(name)
                    .map(|group| (name.as_bytes().to_vec(), text_body(group.as_bytes())))
            })
            .collect();
        for (name, body) in found {
            self.set(&name, Cow::Owned(body), true, true);
        }
    }

    fn convert(&mut self, key: &[u8], to: Kind) {
        self.replace(&Keys::One(key.to_vec()), |body| {
            let value = AnyValue::parse(body);
            let mut new = Vec::new();
            match to {
                Kind::Int => put_varint_field(&mut new, any::INT, to_int(value)? as u64),
                Kind::Double => {
                    put_fixed64_field(&mut new, any::DOUBLE, to_double(value)?.to_bits())
                }
                Kind::String => {
                    put_bytes_field(&mut new, any::STRING, plain_text(value)?.as_bytes())
                }
            }
            Some(new)
        });
    }

    /// Writes `message` with these attributes, which stand where the first of the old ones stood, else at the end.
    fn write(&self, message: &[u8], number: u32, out: &mut Vec<u8>) {
        let mut written = false;
        for field in fields(message).flatten() {
            if field.number != number {
                out.extend_from_slice(field.raw);
            } else if !written {
                self.write_list(number, out);
                written = true;
            }
        }
        if !written {
            self.write_list(number, out);
        }
    }

    fn write_list(&self, number: u32, out: &mut Vec<u8>) {
        for (key, value) in &self.list {
            put_message(out, number, |out| {
                put_bytes_field(out, 1, key);
                put_bytes_field(out, 2, value);
            });
        }
    }
}

fn text_body(text: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(text.len() + 4);
    put_bytes_field(&mut body, any::STRING, text);
    body
}

/// The hexadecimal SHA-256 of a value's text, so that equal values stay equal; composite values by their bytes.
fn sha256(body: &[u8]) -> Vec<u8> {
    let digest = match (AnyValue::parse(body), plain_text(AnyValue::parse(body))) {
        (AnyValue::Bytes(bytes), _) => Sha256::digest(bytes),
        (_, Some(text)) => Sha256::digest(text.as_bytes()),
        (_, None) => Sha256::digest(body),
    };
    digest
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect()
}

fn plain_text(value: AnyValue<'_>) -> Option<String> {
    match value {
        AnyValue::Str(text) => Some(text.to_owned()),
        AnyValue::Bool(flag) => Some(flag.to_string()),
        AnyValue::Int(number) => Some(number.to_string()),
        AnyValue::Double(number) => Some(number.to_string()),
        _ => None,
    }
}

fn to_int(value: AnyValue<'_>) -> Option<i64> {
    match value {
        AnyValue::Str(text) => text.trim().parse().ok(),
        AnyValue::Bool(flag) => Some(i64::from(flag)),
        AnyValue::Int(number) => Some(number),
        AnyValue::Double(number) if number.is_finite() => Some(number as i64),
        _ => None,
    }
}

fn to_double(value: AnyValue<'_>) -> Option<f64> {
    match value {
        AnyValue::Str(text) => text.trim().parse().ok(),
        AnyValue::Bool(flag) => Some(f64::from(u8::from(flag))),
        AnyValue::Int(number) => Some(number as f64),
        AnyValue::Double(number) => Some(number),
        _ => None,
    }
}

fn literal(value: &serde_json::Value) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    match value {
        serde_json::Value::String(text) => put_bytes_field(&mut body, any::STRING, text.as_bytes()),
        serde_json::Value::Bool(flag) => put_varint_field(&mut body, any::BOOL, u64::from(*flag)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => put_varint_field(&mut body, any::INT, int as u64),
            (None, Some(double)) => put_fixed64_field(&mut body, any::DOUBLE, double.to_bits()),
            (None, None) => return Err(format!("number out of range: {number}")),
        },
        other => return Err(format!("not a text, number or boolean: {other}")),
    }
    Ok(body)
}

/// A list of actions, applied in order to the attributes of every item, or of every resource.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct AttributePlan {
    actions: Vec<Action>,
    on_resource: bool,
}

#[pymethods]
impl AttributePlan {
    #[new]
    fn new(actions_json: &str, on_resource: bool) -> PyResult<Self> {
        let texts: Vec<ActionText> = serde_json::from_str(actions_json)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let actions = texts.into_iter().enumerate().map(|(at, text)| {
            Action::compile(text)
                .map_err(|error| PyValueError::new_err(format!("actions[{at}]: {error}")))
        });
        Ok(Self {
            actions: actions.collect::<PyResult<_>>()?,
            on_resource,
        })
    }
}

impl AttributePlan {
    fn edit(&self, message: &[u8], number: u32, out: &mut Vec<u8>) -> bool {
        let mut attributes = Attributes::read(message, number);
        for action in &self.actions {
            action.apply(&mut attributes);
        }
        if attributes.changed {
            attributes.write(message, number, out);
        }
        attributes.changed
    }
}

struct OnItems<'p>(&'p AttributePlan);

impl RewriteRows for OnItems<'_> {
    fn row(&mut self, _: &Context<'_>, row: Row<'_>, out: &mut Vec<u8>) -> Edit {
        if self.0.edit(row.body, row.attributes, out) {
            Edit::Write
        } else {
            Edit::Keep
        }
    }
}

struct OnResources<'p>(&'p AttributePlan);

impl Rewrite for OnResources<'_> {
    fn resource(&mut self, resource: &[u8], out: &mut Vec<u8>) -> bool {
        self.0.edit(resource, RESOURCE_ATTRIBUTES, out)
    }

    fn item(&mut self, _: &Context<'_>, _: &[u8], _: &mut Vec<u8>) -> Edit {
        Edit::Keep
    }
}

/// Applies the plan; a batch that it does not change keeps its bytes.
#[pyfunction]
pub fn edit_attributes(py: Python<'_>, batch: &Batch, plan: &AttributePlan) -> Batch {
    let (signal, data) = (batch.signal, batch.bytes(py));
    let edited = py.detach(|| match plan.on_resource {
        true => rewrite(data, &mut OnResources(plan)),
        false => rewrite_rows(signal, data, &mut OnItems(plan)),
    });
    batch.replaced(py, edited, batch.item_count())
}
