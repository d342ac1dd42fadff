//! Matching one value: equal to one of some literals, like a glob or a regex, within a range, present or absent.
#![forbid(unsafe_code)]

use regex::Regex;
use serde::Deserialize;

use crate::otlp::AnyValue;

/// As it is written: `"x"`, `7`, `true`, `["x", "y"]`, `{glob: ..}`, `{regex: ..}`, `{present: ..}`, `{above: .., below: ..}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum MatcherText {
    Literal(Scalar),
    OneOf(Vec<Scalar>),
    Glob {
        glob: String,
    },
    Regex {
        regex: String,
    },
    Present {
        present: bool,
    },
    Range {
        above: Option<f64>,
        below: Option<f64>,
    },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

impl Scalar {
    fn equals(&self, value: AnyValue<'_>) -> bool {
        match (self, value) {
            (Self::Text(text), AnyValue::Str(value)) => text == value,
            (Self::Bool(flag), AnyValue::Bool(value)) => *flag == value,
            (Self::Int(number), AnyValue::Int(value)) => *number == value,
            (Self::Int(number), AnyValue::Double(value)) => *number as f64 == value,
            (Self::Double(number), AnyValue::Double(value)) => *number == value,
            (Self::Double(number), AnyValue::Int(value)) => *number == value as f64,
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
pub enum Matcher {
    OneOf(Vec<Scalar>),
    Regex(Regex),
    Present(bool),
    /// Strictly above and strictly below.
    Range(f64, f64),
}

impl Matcher {
    pub fn compile(text: MatcherText) -> Result<Self, String> {
        Ok(match text {
            MatcherText::Literal(scalar) => Self::OneOf(vec![scalar]),
            MatcherText::OneOf(scalars) => Self::OneOf(scalars),
            MatcherText::Glob { glob } => Self::Regex(compile_regex(&glob_to_regex(&glob))?),
            MatcherText::Regex { regex } => Self::Regex(compile_regex(&regex)?),
            MatcherText::Present { present } => Self::Present(present),
            MatcherText::Range {
                above: None,
                below: None,
            } => return Err("an empty condition".into()),
            MatcherText::Range { above, below } => Self::Range(
                above.unwrap_or(f64::NEG_INFINITY),
                below.unwrap_or(f64::INFINITY),
            ),
        })
    }

    /// Whether the value matches; an absent value is None and matches nothing but `present: false`.
    pub fn holds(&self, value: Option<AnyValue<'_>>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Present(false));
        };
        match self {
            Self::OneOf(scalars) => scalars.iter().any(|scalar| scalar.equals(value)),
            Self::Regex(regex) => matches!(value, AnyValue::Str(text) if regex.is_match(text)),
            Self::Present(present) => *present,
            Self::Range(above, below) => match value {
                AnyValue::Int(number) => *above < number as f64 && (number as f64) < *below,
                AnyValue::Double(number) => *above < number && number < *below,
                _ => false,
            },
        }
    }

    pub fn holds_text(&self, text: &str) -> bool {
        self.holds(Some(AnyValue::Str(text)))
    }
}

/// A regular expression of bounded size.
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
