//! The registry as Python writes it (otel_pipeline/semconv/live_check.py), made ready to look names up in.
#![forbid(unsafe_code)]

use serde::Deserialize;

use super::finding::{Id, Told};
use super::subject::HashSet;
use super::subject::{Expects, Kind, Reference, Seen, Subject, is_well_formed, lifecycle};
use super::value::Type;
use crate::aggregate::hash::HashMap;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeprecatedSpec {
    pub reason: String,
    pub note: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MemberSpec {
    Text(String),
    Int(i64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributeSpec {
    key: String,
    /// `string`, `int[]`, `template[string]`, `enum`, ...
    r#type: String,
    members: Vec<MemberSpec>,
    stability: String,
    deprecated: Option<DeprecatedSpec>,
    content: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalSpec {
    pub name: String,
    /// Other names under which it is sent.
    pub aliases: Vec<String>,
    pub instrument: String,
    pub unit: String,
    pub stability: String,
    pub deprecated: Option<DeprecatedSpec>,
    /// Attribute and requirement level.
    attributes: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanSpec {
    attributes: Vec<AttributeSpec>,
    metrics: Vec<SignalSpec>,
    events: Vec<SignalSpec>,
}

/// Its word in sentences and in contexts.
const ATTRIBUTE: (&str, &str) = ("Attribute", "attribute_key");

impl AttributeSpec {
    /// The type of the values that a template makes.
    fn template(&self) -> Option<&str> {
        self.r#type.strip_prefix("template[")?.strip_suffix(']')
    }
}

/// Where the subjects are, by name.
pub type Index = HashMap<Box<[u8]>, u32>;

/// All subjects: first those of the registry, then those that were learned.
#[derive(Default)]
pub struct Registry {
    pub subjects: Vec<Subject>,
    pub attributes: Index,
    pub metrics: Index,
    pub events: Index,
    /// Longest first.
    templates: Vec<(u32, AttributeSpec)>,
    /// Everything before a dot in the name of an attribute that is no template.
    namespaces: HashSet<Box<[u8]>>,
}

impl Registry {
    /// Reads the plan; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let spec: PlanSpec = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut registry = Self::default();
        for attribute in spec.attributes {
            registry.add_attribute(attribute);
        }
        let templates = &mut registry.templates;
        templates.sort_by_key(|(_, template)| std::cmp::Reverse(template.key.len()));
        registry.tell_namespaces();
        for (kind, signals) in [(Kind::Metric, &spec.metrics), (Kind::Event, &spec.events)] {
            for signal in signals {
                registry.add_signal(kind, signal);
            }
        }
        Ok(registry)
    }

    /// Adds a subject; its place.
    pub fn push(&mut self, subject: Subject) -> u32 {
        self.subjects.push(subject);
        (self.subjects.len() - 1) as u32
    }

    fn add_attribute(&mut self, spec: AttributeSpec) {
        let template = spec.template();
        let mut subject = Subject::new(Kind::Attribute, &spec.key, Seen::Registry, Vec::new());
        if spec.deprecated.is_some() {
            subject.seen = Seen::NonRegistry;
        }
        subject.expects = match template.unwrap_or(&spec.r#type) {
            "enum" => members(&spec.members),
            kind => Expects::Type(Type::parse(kind)),
        };
        subject.content = spec.content;
        lifecycle(
            &mut subject.fixed,
            ATTRIBUTE,
            &spec.key,
            spec.deprecated.as_ref(),
            &spec.stability,
        );
        let is_template = template.is_some();
        let index = self.push(subject);
        if is_template {
            self.templates.push((index, spec));
            return;
        }
        self.attributes.insert(spec.key.as_bytes().into(), index);
        for namespace in namespaces(&spec.key) {
            self.namespaces.insert(namespace.as_bytes().into());
        }
    }

    /// Tells of the registry's own attributes what their names alone say.
    fn tell_namespaces(&mut self) {
        let known: Vec<u32> = self.attributes.values().copied().collect();
        for index in known {
            let name = self.subjects[index as usize].name.clone();
            let mut told = Vec::new();
            self.tell_name(&name, true, &mut told);
            let templates = self.templates_of(&name);
            let subject = &mut self.subjects[index as usize];
            subject.fixed.extend(told);
            subject.templates = templates;
        }
    }

    fn add_signal(&mut self, kind: Kind, spec: &SignalSpec) {
        let mut subject = Subject::signal(kind, spec);
        for (key, level) in &spec.attributes {
            let Some(attribute) = self.attribute_or_template(key) else {
                continue;
            };
            let (id, word) = match &**level {
                "required" => (Id::RequiredAttributeNotPresent, "Required"),
                "opt_in" => (Id::OptInAttributeNotPresent, "Opt-in"),
                "conditionally_required" => (
                    Id::ConditionallyRequiredAttributeNotPresent,
                    "Conditionally required",
                ),
                _ => (Id::RecommendedAttributeNotPresent, "Recommended"),
            };
            let message = format!("{word} attribute '{key}' is not present.");
            let told = Told::new(id, message, vec![("attribute_key", key.clone())]);
            subject.references.push(Reference { attribute, told });
        }
        let index = self.push(subject);
        let names = match kind {
            Kind::Metric => &mut self.metrics,
            _ => &mut self.events,
        };
        for alias in &spec.aliases {
            names.entry(alias.as_bytes().into()).or_insert(index);
        }
        names.insert(spec.name.as_bytes().into(), index);
    }

    fn attribute_or_template(&self, key: &str) -> Option<u32> {
        let template = || self.templates.iter().find(|(_, one)| one.key == key);
        let attribute = self.attributes.get(key.as_bytes()).copied();
        attribute.or_else(|| Some(template()?.0))
    }

    /// The templates that a name begins with, the longest first.
    fn templates_of(&self, name: &str) -> Vec<u32> {
        let begins = |(_, one): &&(u32, AttributeSpec)| name.starts_with(&one.key);
        let found = self.templates.iter().filter(begins);
        found.map(|(index, _)| *index).collect()
    }

    /// The subject for an attribute that the registry does not name.
    pub fn unknown_attribute(&self, name: &str) -> Subject {
        let template = self
            .templates
            .iter()
            .find(|(_, one)| name.starts_with(&one.key));
        let mut subject = match template {
            Some((index, spec)) => self.made_by_template(name, *index, spec),
            None => {
                let message = format!("Attribute '{name}' does not exist in the registry.");
                let context = vec![("attribute_key", name.to_owned())];
                let told = Told::new(Id::MissingAttribute, message, context);
                Subject::new(Kind::Attribute, name, Seen::NonRegistry, vec![told])
            }
        };
        subject.templates = self.templates_of(name);
        self.tell_name(name, false, &mut subject.fixed);
        subject
    }

    fn made_by_template(&self, name: &str, index: u32, spec: &AttributeSpec) -> Subject {
        let context = vec![
            ("attribute_key", name.to_owned()),
            ("template_name", spec.key.clone()),
        ];
        let message = format!("Attribute '{name}' is a template");
        let mut fixed = vec![Told::new(Id::TemplateAttribute, message, context)];
        let deprecated = spec.deprecated.as_ref();
        lifecycle(&mut fixed, ATTRIBUTE, name, deprecated, &spec.stability);
        let template = &self.subjects[index as usize];
        Subject {
            expects: template.expects.clone(),
            content: template.content,
            ..Subject::new(Kind::Attribute, name, Seen::Template(index), fixed)
        }
    }

    /// What the name of an attribute alone says. Source: Weaver's `defaults/policies/live_check_advice/otel.rego`.
    fn tell_name(&self, name: &str, known: bool, told: &mut Vec<Told>) {
        let context = |namespace: Option<&str>| {
            let mut context = vec![("attribute_key", name.to_owned())];
            context.extend(namespace.map(|namespace| ("namespace", namespace.to_owned())));
            context
        };
        let is_template = !self.templates_of(name).is_empty();
        if !name.contains('.') {
            let message = format!(
                "Attribute key '{name}' must include a namespace (e.g. '{{namespace}}.{{attribute_key}}')"
            );
            told.push(Told::new(Id::MissingNamespace, message, context(None)));
        }
        if !is_template && !is_well_formed(name) {
            let message = format!("Attribute key '{name}' does not match name formatting rules.");
            told.push(Told::new(Id::InvalidFormat, message, context(None)));
        }
        for namespace in namespaces(name) {
            let Some(index) = self.attributes.get(namespace.as_bytes()) else {
                continue;
            };
            if self.subjects[*index as usize].seen == Seen::Registry {
                let message = format!(
                    "Namespace '{namespace}' collides with existing attribute '{namespace}'"
                );
                let context = context(Some(namespace));
                told.push(Told::new(Id::IllegalNamespace, message, context));
            }
        }
        let existing = |namespace: &&str| self.namespaces.contains(namespace.as_bytes());
        if let (false, false, Some(namespace)) =
            (known, is_template, namespaces(name).filter(existing).last())
        {
            let message =
                format!("Attribute key '{name}' collides with existing namespace '{namespace}'");
            let context = context(Some(namespace));
            told.push(Told::new(Id::ExtendsNamespace, message, context));
        }
    }
}

/// `a` and `a.b` of `a.b.c`.
fn namespaces(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[..at])
}

fn members(specs: &[MemberSpec]) -> Expects {
    let (mut texts, mut numbers) = (HashSet::default(), HashSet::default());
    for spec in specs {
        match spec {
            MemberSpec::Text(text) => _ = texts.insert(text.as_bytes().into()),
            MemberSpec::Int(number) => _ = numbers.insert(*number),
        }
    }
    Expects::Enum(texts, numbers)
}
