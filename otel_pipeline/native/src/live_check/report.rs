//! The report as JSON: findings by what they are about, and Weaver's statistics.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::check::Checker;
use super::finding::{Id, Level, Told};
use super::subject::{Expects, Kind, Seen, Subject};
use super::tables::{Fault, Key, Place, SAMPLES, SignalType};

/// What findings are brought together by, in the order in which they are told: the worst first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    level: std::cmp::Reverse<Level>,
    id: &'static str,
    signal_type: Option<&'static str>,
    signal_name: String,
    attribute: String,
}

struct Finding {
    count: u64,
    told: Told,
    place: Place,
}

/// `{"findings": [...], "overflow": n, "statistics": {...}}`, the latter with the keys of Weaver's report.
pub fn report(checker: &Checker) -> String {
    let mut groups: BTreeMap<Group, Finding> = BTreeMap::new();
    let mut messages: BTreeMap<String, u64> = BTreeMap::new();
    for (key, (count, place)) in &checker.cells.counts {
        for told in told(checker, key) {
            *messages.entry(told.message.clone()).or_default() += count;
            add(
                &mut groups,
                group(checker, key, &told),
                told,
                *count,
                *place,
            );
        }
    }
    let findings: Vec<Value> = groups
        .iter()
        .map(|(group, finding)| finding_json(checker, group, finding))
        .collect();
    json!({
        "findings": findings,
        "overflow": checker.cells.overflow,
        "statistics": statistics(checker, messages),
    })
    .to_string()
}

/// Of what is alike but for its message, the first in the order of messages stands for all.
fn add(groups: &mut BTreeMap<Group, Finding>, group: Group, told: Told, count: u64, place: Place) {
    match groups.get_mut(&group) {
        None => {
            let finding = Finding { count, told, place };
            groups.insert(group, finding);
        }
        Some(finding) => {
            finding.count += count;
            if told.message < finding.told.message {
                (finding.told, finding.place) = (told, place);
            }
        }
    }
}

fn group(checker: &Checker, key: &Key, told: &Told) -> Group {
    let attribute = told.context.iter().find(|(key, _)| *key == "attribute_key");
    Group {
        level: std::cmp::Reverse(told.id.level()),
        id: told.id.name(),
        signal_type: signal_type(key.signal_type),
        signal_name: checker.names.text(key.signal_name).to_owned(),
        attribute: attribute.map_or(String::new(), |(_, name)| name.clone()),
    }
}

/// Weaver has no name for the signal type of a scope.
fn signal_type(signal: SignalType) -> Option<&'static str> {
    match signal {
        SignalType::Resource => Some("resource"),
        SignalType::Scope => None,
        SignalType::Span => Some("span"),
        SignalType::Metric => Some("metric"),
        SignalType::Log => Some("log"),
    }
}

fn finding_json(checker: &Checker, group: &Group, finding: &Finding) -> Value {
    let context: Map<String, Value> = finding
        .told
        .context
        .iter()
        .map(|(key, text)| ((*key).to_owned(), Value::from(text.as_str())))
        .collect();
    let named = group.signal_type.is_some_and(|name| name != "resource");
    let place = &finding.place;
    json!({
        "id": group.id,
        "level": group.level.0.name(),
        "message": finding.told.message,
        "context": context,
        "signal_type": group.signal_type,
        "signal_name": named.then_some(&group.signal_name),
        "count": finding.count,
        "example": {
            "service_name": checker.names.text(place.service),
            "scope_name": checker.names.text(place.scope),
            "sample_type": SAMPLES[place.sample as usize],
        },
    })
}

/// What a cell tells.
fn told(checker: &Checker, key: &Key) -> Vec<Told> {
    let subject = &checker.registry.subjects[key.subject as usize];
    let one = match key.fault {
        Fault::Fixed => return subject.fixed.clone(),
        Fault::Absent(place) => {
            let references = subject.references.get(place as usize);
            return references.map(|one| one.told.clone()).into_iter().collect();
        }
        Fault::Type(found) => type_mismatch(subject, found.name()),
        Fault::Value(symbol) => undefined(subject, checker.names.text(symbol)),
        Fault::Instrument(found) => instrument(subject, found),
        Fault::Unit(symbol) => unit(subject, checker.names.text(symbol)),
    };
    vec![one]
}

fn type_mismatch(subject: &Subject, found: &str) -> Told {
    let name = &subject.name;
    let mut context = vec![
        ("attribute_key", name.to_string()),
        ("attribute_type", found.to_owned()),
    ];
    let message = match &subject.expects {
        Expects::Type(expected) => {
            let expected = expected.name();
            context.push(("expected", expected.to_owned()));
            format!("Attribute '{name}' has type '{found}'. Type should be '{expected}'.")
        }
        _ => format!(
            "Enum attribute '{name}' has type '{found}'. Enum value type should be 'string' or 'int'."
        ),
    };
    Told::new(Id::TypeMismatch, message, context)
}

/// `value` is empty where it must not be shown.
fn undefined(subject: &Subject, value: &str) -> Told {
    let name = &subject.name;
    let mut context = vec![("attribute_key", name.to_string())];
    let message = if value.is_empty() {
        format!("Enum attribute '{name}' has a value which is not documented.")
    } else {
        context.push(("attribute_value", value.to_owned()));
        format!("Enum attribute '{name}' has value '{value}' which is not documented.")
    };
    Told::new(Id::UndefinedEnumVariant, message, context)
}

fn instrument(subject: &Subject, found: &str) -> Told {
    let mut context = vec![("instrument", found.to_owned())];
    let message = if matches!(found, "Summary" | "Unspecified") {
        format!("Instrument '{found}' is not supported")
    } else {
        let expected = &subject.instrument;
        context.push(("expected", expected.clone()));
        format!("Instrument should be '{expected}', but found '{found}'.")
    };
    Told::new(Id::UnexpectedInstrument, message, context)
}

fn unit(subject: &Subject, found: &str) -> Told {
    let expected = &subject.unit;
    let message = format!("Unit should be '{expected}', but found '{found}'.");
    let context = vec![("unit", found.to_owned()), ("expected", expected.clone())];
    Told::new(Id::UnitMismatch, message, context)
}

/// Exactly the keys of Weaver's `CumulativeStatistics`.
fn statistics(checker: &Checker, messages: BTreeMap<String, u64>) -> Value {
    let by_level = |counts: [u64; Level::ALL.len()]| {
        named(Level::ALL.into_iter().map(Level::name).zip(counts))
    };
    let mut levels = [0; Level::ALL.len()];
    for id in Id::ALL {
        levels[id.level() as usize] += checker.by_id[id as usize];
    }
    let seen: Vec<[BTreeMap<&str, u64>; 2]> = [Kind::Attribute, Kind::Metric, Kind::Event]
        .into_iter()
        .map(|kind| seen(checker, kind))
        .collect();
    let registered = || seen.iter().flat_map(|[known, _]| known.values());
    let (covered, all) = (
        registered().filter(|count| **count > 0).count(),
        registered().count(),
    );
    json!({
        "total_entities": checker.samples.iter().sum::<u64>(),
        "total_entities_by_type": named(SAMPLES.into_iter().zip(checker.samples)),
        "total_advisories": checker.by_id.iter().sum::<u64>(),
        "advice_level_counts": by_level(levels),
        "highest_advice_level_counts": by_level(checker.worst),
        "no_advice_count": checker.clean,
        "advice_type_counts": named(Id::ALL.into_iter().map(Id::name).zip(checker.by_id)),
        "advice_message_counts": messages,
        "seen_registry_attributes": seen[0][0],
        "seen_non_registry_attributes": seen[0][1],
        "seen_registry_metrics": seen[1][0],
        "seen_non_registry_metrics": seen[1][1],
        "seen_registry_events": seen[2][0],
        "seen_non_registry_events": seen[2][1],
        "registry_coverage": if all == 0 { 0.0 } else { covered as f64 / all as f64 },
    })
}

/// The counts that are not zero.
fn named(counts: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<&'static str, u64> {
    counts.filter(|(_, count)| *count > 0).collect()
}

/// How often what is in the registry was seen, and what is not.
fn seen(checker: &Checker, kind: Kind) -> [BTreeMap<&str, u64>; 2] {
    let mut tables = [BTreeMap::new(), BTreeMap::new()];
    let subjects = &checker.registry.subjects;
    for subject in subjects.iter().filter(|subject| subject.kind == kind) {
        let counted = match subject.seen {
            Seen::Template(template) => &subjects[template as usize],
            _ => subject,
        };
        let table = &mut tables[usize::from(counted.seen == Seen::NonRegistry)];
        if counted.seen == Seen::Registry || subject.count > 0 {
            *table.entry(&*counted.name).or_default() += subject.count;
        }
    }
    tables
}
