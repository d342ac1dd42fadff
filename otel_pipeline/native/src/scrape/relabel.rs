//! Relabelling, as Prometheus configures it: for targets before, and for samples after a scrape.

use std::borrow::Cow;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use regex::Regex;

use super::sample::{Labels, MAX_NAME_BYTES, MAX_VALUE_BYTES};

enum Action {
    Replace { target: String, replacement: String },
    Keep,
    Drop,
    LabelMap { replacement: String },
    LabelDrop,
    LabelKeep,
}

struct Rule {
    sources: Vec<String>,
    separator: String,
    regex: Regex,
    action: Action,
}

/// Rules made ready; see `_native.pyi`.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct RelabelPlan {
    rules: Vec<Rule>,
}

/// Action, source labels, separator, regex, target label, replacement.
type Written = (String, Vec<String>, String, String, String, String);

#[pymethods]
impl RelabelPlan {
    #[new]
    fn new(rules: Vec<Written>) -> PyResult<Self> {
        let rules = rules
            .into_iter()
            .map(Rule::compile)
            .collect::<Result<_, _>>();
        Ok(Self {
            rules: rules.map_err(PyValueError::new_err)?,
        })
    }

    /// The labels after all rules; None where they are dropped.
    fn apply(&self, labels: Vec<(String, String)>) -> Option<Vec<(String, String)>> {
        let own = |(name, value)| (Cow::Owned(name), Cow::Owned(value));
        let mut labels: Labels<'_> = labels.into_iter().map(own).collect();
        let kept = self.relabel(&mut labels);
        let own =
            |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
        kept.then(|| labels.into_iter().map(own).collect())
    }
}

impl RelabelPlan {
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Changes the labels; false where they are to be dropped.
    pub fn relabel(&self, labels: &mut Labels<'_>) -> bool {
        self.rules.iter().all(|rule| rule.apply(labels))
    }
}

impl Rule {
    fn compile(written: Written) -> Result<Self, String> {
        let (action, sources, separator, regex, target, replacement) = written;
        let action = match action.as_str() {
            "replace" => Action::Replace {
                target,
                replacement,
            },
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            "labelmap" => Action::LabelMap { replacement },
            "labeldrop" => Action::LabelDrop,
            "labelkeep" => Action::LabelKeep,
            other => return Err(format!("unknown action {other:?}")),
        };
        let anchored = Regex::new(&format!("^(?s:{regex})$"));
        Ok(Self {
            sources,
            separator,
            regex: anchored.map_err(|_| format!("not a regular expression: {regex:?}"))?,
            action,
        })
    }

    fn apply(&self, labels: &mut Labels<'_>) -> bool {
        match &self.action {
            Action::Keep => return self.regex.is_match(&self.joined(labels)),
            Action::Drop => return !self.regex.is_match(&self.joined(labels)),
            Action::Replace {
                target,
                replacement,
            } => self.replace(labels, target, replacement),
            Action::LabelMap { replacement } => self.map(labels, replacement),
            Action::LabelDrop => labels.retain(|(name, _)| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|(name, _)| self.regex.is_match(name)),
        }
        true
    }

    fn joined(&self, labels: &Labels<'_>) -> String {
        let value = |name: &String| {
            let found = labels.iter().find(|(known, _)| known == name);
            found.map_or("", |(_, value)| value.as_ref())
        };
        let values: Vec<&str> = self.sources.iter().map(value).collect();
        values.join(&self.separator)
    }

    fn replace(&self, labels: &mut Labels<'_>, target: &str, replacement: &str) {
        let joined = self.joined(labels);
        if let Some(found) = self.regex.captures(&joined) {
            let (mut name, mut value) = (String::new(), String::new());
            found.expand(target, &mut name);
            found.expand(replacement, &mut value);
            set(labels, name, value);
        }
    }

    fn map(&self, labels: &mut Labels<'_>, replacement: &str) {
        let mut found = Vec::new();
        for (name, value) in labels.iter() {
            if let Some(captures) = self.regex.captures(name) {
                let mut new_name = String::new();
                captures.expand(replacement, &mut new_name);
                found.push((new_name, value.clone().into_owned()));
            }
        }
        for (name, value) in found {
            set(labels, name, value);
        }
    }
}

/// Sets a label; an empty value removes it, and what is over the limits stays out.
fn set(labels: &mut Labels<'_>, name: String, value: String) {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || value.len() > MAX_VALUE_BYTES {
        return;
    }
    labels.retain(|(known, _)| *known != name);
    if !value.is_empty() {
        labels.push((Cow::Owned(name), Cow::Owned(value)));
    }
}
