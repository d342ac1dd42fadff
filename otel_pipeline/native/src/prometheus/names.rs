//! Names of metrics and labels: OpenTelemetry's made legal for Prometheus.
//! Source: opentelemetry-specification "Prometheus and OpenMetrics Compatibility" and "Prometheus Exporter",
//! `translation_strategy`.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::labels::hidden;
use super::series::Kind;

/// The name of a family as OpenMetrics knows it (a counter without its `_total`, an info without its `_info`), and the word of its unit.
#[derive(Debug, PartialEq, Eq)]
pub struct FamilyName {
    pub name: String,
    /// What samples have after the name: `_total`, `_info` or nothing.
    pub suffix: &'static str,
    /// Empty where the name does not end with the unit, since OpenMetrics then forbids the UNIT line.
    pub unit: String,
}

/// How names are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strategy {
    /// Characters that were illegal before Prometheus 3 become `_`.
    pub escape: bool,
    /// Unit and type stand at the end of names.
    pub suffixes: bool,
}

impl Strategy {
    pub const DEFAULT: Self = Self {
        escape: true,
        suffixes: true,
    };

    pub fn parse(name: &str) -> Option<Self> {
        let (escape, suffixes) = match name {
            "UnderscoreEscapingWithSuffixes" => (true, true),
            "UnderscoreEscapingWithoutSuffixes" => (true, false),
            "NoUTF8EscapingWithSuffixes" => (false, true),
            "NoTranslation" => (false, false),
            _ => return None,
        };
        Some(Self { escape, suffixes })
    }
}

/// Makes the names of one exporter.
pub struct Names {
    namespace: String,
    pub strategy: Strategy,
}

const TOTAL: &str = "_total";
pub const INFO: &str = "_info";

impl Names {
    pub fn new(namespace: &str, strategy: Strategy) -> Self {
        Self {
            namespace: namespace.to_owned(),
            strategy,
        }
    }

    /// Name, then unit, then (when it is rendered) the suffix of the type; None where no legal character is left.
    pub fn metric(&self, name: &str, unit: &str, kind: Kind) -> Option<FamilyName> {
        match (self.strategy.escape, self.strategy.suffixes) {
            (true, true) => self.escaped_with_suffixes(name, unit, kind),
            (true, false) => {
                let joined = words(name).collect::<Vec<_>>().join("_");
                self.without_suffixes(&joined, kind)
            }
            (false, true) => self.as_is_with_suffixes(&printable(name), unit, kind),
            (false, false) => self.without_suffixes(&printable(name), kind),
        }
    }

    fn escaped_with_suffixes(&self, name: &str, unit: &str, kind: Kind) -> Option<FamilyName> {
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
        if kind == Kind::Info && tokens.len() > 1 && tokens.last() == Some(&"info") {
            tokens.pop();
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
        let unit = known_unit(&name, unit);
        Some(FamilyName {
            name,
            suffix: type_suffix(kind),
            unit,
        })
    }

    fn as_is_with_suffixes(&self, name: &str, unit: &str, kind: Kind) -> Option<FamilyName> {
        let stem = own_stem(name, kind).unwrap_or(name);
        let mut full = self.with_namespace(stem)?;
        let unit = unit_words(unit, kind);
        if !unit.is_empty() && !full.ends_with(&unit) {
            full = format!("{full}_{unit}");
        }
        let unit = known_unit(&full, unit);
        Some(FamilyName {
            name: full,
            suffix: type_suffix(kind),
            unit,
        })
    }

    /// What the sender itself called `_total` or `_info` keeps the suffix; any other has none.
    fn without_suffixes(&self, name: &str, kind: Kind) -> Option<FamilyName> {
        let stem = own_stem(name, kind);
        let mut full = self.with_namespace(stem.unwrap_or(name))?;
        if self.strategy.escape && full.starts_with(|first: char| first.is_ascii_digit()) {
            full.insert(0, '_');
        }
        Some(FamilyName {
            name: full,
            suffix: if stem.is_some() {
                type_suffix(kind)
            } else {
                ""
            },
            unit: String::new(),
        })
    }

    fn with_namespace(&self, name: &str) -> Option<String> {
        let named = !name.is_empty();
        named.then(|| match self.namespace.as_str() {
            "" => name.to_owned(),
            namespace => format!("{namespace}_{name}"),
        })
    }

    /// The label of an attribute, by the strategy. Names with `__` first mean something to Prometheus.
    pub fn label<'k>(&self, key: &'k str) -> Cow<'k, str> {
        match self.strategy.escape || key.is_empty() || key.starts_with("__") {
            true => escaped_label(key),
            false => printable(key),
        }
    }
}

/// A name that may stay as it is, but for the characters that no page shows (`push_escaped`): names that come out alike
/// must be known as alike.
fn printable(name: &str) -> Cow<'_, str> {
    if !name.contains(hidden) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.replace(hidden, "\u{fffd}"))
}

/// What the samples of this kind have after the name of the family.
pub fn type_suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => TOTAL,
        Kind::Info => INFO,
        _ => "",
    }
}

/// The name without the suffix of its type, where the sender itself wrote it.
fn own_stem(name: &str, kind: Kind) -> Option<&str> {
    let suffix = Some(type_suffix(kind)).filter(|suffix| !suffix.is_empty())?;
    name.strip_suffix(suffix).filter(|stem| !stem.is_empty())
}

/// The unit, where `name` ends with it.
fn known_unit(name: &str, unit: String) -> String {
    let stem = name.strip_suffix(unit.as_str());
    match stem.is_some_and(|stem| stem.ends_with('_')) {
        true => unit,
        false => String::new(),
    }
}

/// A metric name as every Prometheus can read it.
pub fn escaped_metric(name: &str) -> Cow<'_, str> {
    if is_plain_metric(name) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len() + 1);
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        escaped.push('_');
    }
    escaped.extend(name.chars().map(|character| {
        let legal = character.is_ascii_alphanumeric() || character == ':';
        if legal { character } else { '_' }
    }));
    Cow::Owned(escaped)
}

/// Whether a name can stand on a page without quotes.
pub fn is_plain_metric(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(legal)
}

/// Whether a label name can stand on a page without quotes.
pub fn is_bare_label(name: &str) -> bool {
    is_plain_metric(name) && !name.contains(':')
}

/// Illegal characters become `_`, runs of `_` one, and a leading digit gets the prefix `key_`.
pub fn escaped_label(key: &str) -> Cow<'_, str> {
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

/// The suffix of a UCUM unit; what has no number has none: `s` -> `seconds`, `m/s` -> `meters_per_second`, `{request}` -> nothing.
fn unit_words(unit: &str, kind: Kind) -> String {
    if matches!(kind, Kind::Info | Kind::StateSet) {
        return String::new();
    }
    if unit == "1" {
        return if kind.is_gauge() { "ratio" } else { "" }.to_owned();
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
        "TiBy" => "tebibytes",
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
