//! Names of metrics and labels: OpenTelemetry's made legal for Prometheus.
//! Source: opentelemetry-specification "Prometheus and OpenMetrics Compatibility", strategy UnderscoreEscapingWithSuffixes.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::series::Kind;

/// The name of a family as OpenMetrics knows it (a counter without its `_total`), and the word of its unit.
#[derive(Debug, PartialEq, Eq)]
pub struct FamilyName {
    pub name: String,
    /// Empty where the name does not end with the unit, since OpenMetrics then forbids the UNIT line.
    pub unit: String,
}

/// Makes the names of one exporter.
pub struct Names {
    namespace: String,
}

impl Names {
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
        }
    }

    /// Name, then unit, then (when it is rendered) the suffix of the type; None where no legal character is left.
    pub fn metric(&self, name: &str, unit: &str, kind: Kind) -> Option<FamilyName> {
        let mut tokens: Vec<&str> = words(name).collect();
        if tokens.is_empty() {
            return None;
        }
        if kind == Kind::Counter {
            tokens.retain(|token| *token != "total");
            if tokens.is_empty() {
                tokens.push("total");
            }
        }
        let unit = unit_words(unit, kind);
        let missing: Vec<&str> = words(&unit).filter(|word| !tokens.contains(word)).collect();
        let mut joined: Vec<&str> = words(&self.namespace).collect();
        joined.extend(tokens);
        joined.extend(missing);
        let mut name = joined.join("_");
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            name.insert(0, '_');
        }
        let ends_with_unit = name
            .strip_suffix(unit.as_str())
            .is_some_and(|stem| stem.ends_with('_'));
        let unit = if ends_with_unit { unit } else { String::new() };
        Some(FamilyName { name, unit })
    }

    /// Illegal characters become `_`, runs of `_` one, and a leading digit gets the prefix `key_`.
    pub fn label<'k>(&self, key: &'k str) -> Cow<'k, str> {
        if is_plain_label(key) {
            return Cow::Borrowed(key);
        }
        let mut label = String::with_capacity(key.len() + 4);
        if key.starts_with(|first: char| first.is_ascii_digit()) {
            label.push_str("key_");
        }
        for character in key.chars() {
            let legal = character.is_ascii_alphanumeric();
            if legal || !label.ends_with('_') {
                label.push(if legal { character } else { '_' });
            }
        }
        if label.is_empty() {
            label.push('_');
        }
        Cow::Owned(label)
    }
}

fn is_plain_label(key: &str) -> bool {
    let bytes = key.as_bytes();
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    bytes.first().is_some_and(|first| !first.is_ascii_digit())
        && bytes.iter().all(legal)
        && !key.contains("__")
}

/// The runs of characters that may stand in a metric name beside `_`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != ':')
        .filter(|word| !word.is_empty())
}

/// The suffix of a UCUM unit: `s` -> `seconds`, `m/s` -> `meters_per_second`, `{request}` -> nothing.
fn unit_words(unit: &str, kind: Kind) -> String {
    if unit == "1" {
        return if kind == Kind::Gauge { "ratio" } else { "" }.to_owned();
    }
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let main = if main.contains(['{', '}']) {
        String::new()
    } else {
        joined_words(unit_word(main.trim()))
    };
    let per = if per.contains(['{', '}']) {
        String::new()
    } else {
        joined_words(per_word(per.trim()))
    };
    match (main.is_empty(), per.is_empty()) {
        (_, true) => main,
        (true, false) => format!("per_{per}"),
        (false, false) => format!("{main}_per_{per}"),
    }
}

fn joined_words(text: &str) -> String {
    words(text).collect::<Vec<_>>().join("_")
}

fn unit_word(unit: &str) -> &str {
    match unit {
        "1" => "",
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" | "kBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        other => other,
    }
}

fn per_word(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}
