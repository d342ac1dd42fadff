//! Matching one value, for rules and filters: literals, globs, regular expressions, presence, ranges.
#![forbid(unsafe_code)]

use regex::Regex;
use serde::Deserialize;

use crate::otlp::AnyValue;

/// A literal of a rule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Text(String),
}

/// A matcher as plans write it: `{"glob": "codex_*"}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatcherSpec {
    Any(Vec<MatcherSpec>),
    Literal(Scalar),
    Glob(String),
    Regex(String),
    Present(bool),
    Not(Box<MatcherSpec>),
    /// At least the first, below the second.
    Range(Option<f64>, Option<f64>),
}

/// A matcher that is ready to be asked.
#[derive(Debug)]
pub enum Matcher {
    Any(Vec<Matcher>),
    Literal(Scalar),
    Glob(String),
    Regex(Regex),
    Present(bool),
    Not(Box<Matcher>),
    Range(f64, f64),
}

impl Matcher {
    /// Compiles a matcher; the error is that of a bad regular expression.
    pub fn new(spec: MatcherSpec) -> Result<Self, String> {
        Ok(match spec {
            MatcherSpec::Any(specs) => {
                Self::Any(specs.into_iter().map(Self::new).collect::<Result<_, _>>()?)
            }
            MatcherSpec::Literal(scalar) => Self::Literal(scalar),
            MatcherSpec::Glob(glob) => Self::Glob(glob),
            MatcherSpec::Regex(pattern) => Self::Regex(compile_regex(&pattern)?),
            MatcherSpec::Present(present) => Self::Present(present),
            MatcherSpec::Not(inner) => Self::Not(Box::new(Self::new(*inner)?)),
            MatcherSpec::Range(low, high) => Self::Range(
                low.unwrap_or(f64::NEG_INFINITY),
                high.unwrap_or(f64::INFINITY),
            ),
        })
    }

    /// The texts that it asks for, where it holds for these alone.
    pub fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::Literal(Scalar::Text(text)) => Some(vec![text]),
            Self::Any(matchers) => {
                let texts: Option<Vec<_>> = matchers.iter().map(Self::texts).collect();
                texts.map(|texts| texts.concat())
            }
            _ => None,
        }
    }

    /// Whether it holds; `None` is a value that is not there.
    pub fn holds(&self, value: Option<AnyValue<'_>>) -> bool {
        match self {
            Self::Any(matchers) => matchers.iter().any(|one| one.holds(value)),
            Self::Not(matcher) => !matcher.holds(value),
            Self::Present(present) => value.is_some() == *present,
            Self::Literal(Scalar::Text(text)) => value == Some(AnyValue::Str(text)),
            Self::Literal(Scalar::Bool(flag)) => value == Some(AnyValue::Bool(*flag)),
            Self::Literal(Scalar::Int(number)) => value == Some(AnyValue::Int(*number)),
            Self::Glob(glob) => {
                matches!(value, Some(AnyValue::Str(text)) if matches_glob(glob, text))
            }
            Self::Regex(regex) => {
                matches!(value, Some(AnyValue::Str(text)) if regex.is_match(text))
            }
            Self::Range(low, high) => match value {
                Some(AnyValue::Int(number)) => *low <= number as f64 && (number as f64) < *high,
                Some(AnyValue::Double(number)) => *low <= number && number < *high,
                _ => false,
            },
        }
    }
}

/// Whether `glob` covers the whole of `text`: `*` is any run of characters, `?` any one.
/// Goes back to the last `*` only, so the time is bounded by the product of the lengths.
pub fn matches_glob(glob: &str, text: &str) -> bool {
    let (mut glob, mut text) = (glob, text);
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let mut rest = glob.chars();
        match (rest.next(), text.chars().next()) {
            (Some('*'), _) => {
                glob = rest.as_str();
                if glob.is_empty() {
                    return true;
                }
                retry = Some((glob, text));
                continue;
            }
            (Some(wanted), Some(found)) if wanted == found || wanted == '?' => {
                glob = rest.as_str();
                text = after_first(text);
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        match retry {
            Some((after_star, from)) if !from.is_empty() => {
                let from = after_first(from);
                (glob, text, retry) = (after_star, from, Some((after_star, from)));
            }
            _ => return false,
        }
    }
}

fn after_first(text: &str) -> &str {
    let mut rest = text.chars();
    rest.next();
    rest.as_str()
}

/// Compiles a regular expression of bounded size.
pub fn compile_regex(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| error.to_string())
}

/// `*` is any text, `?` any one character; everything else stands for itself. The whole value must match.
pub fn glob_to_regex(glob: &str) -> String {
    let mut pattern = String::from("^(?s:");
    for character in glob.chars() {
        match character {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            other => pattern.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern + ")$"
}
