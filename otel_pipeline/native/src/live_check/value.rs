//! The type of an attribute's value as Weaver infers it, and whether a registry's type allows it.
#![forbid(unsafe_code)]

use crate::otlp::AnyValue;
use crate::wire::fields;

/// Types of attributes; `Any` only where a registry says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    Boolean,
    Int,
    Double,
    String,
    Booleans,
    Ints,
    Doubles,
    Strings,
    Any,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
            Self::Booleans => "boolean[]",
            Self::Ints => "int[]",
            Self::Doubles => "double[]",
            Self::Strings => "string[]",
            Self::Any => "any",
        }
    }

    /// The type of that name; any other name is one that allows everything.
    pub fn parse(name: &str) -> Self {
        let all = [
            Self::Boolean,
            Self::Int,
            Self::Double,
            Self::String,
            Self::Booleans,
            Self::Ints,
            Self::Doubles,
            Self::Strings,
        ];
        let found = all.into_iter().find(|one| one.name() == name);
        found.unwrap_or(Self::Any)
    }

    /// Whether a value of this type may stand where `expected` is registered. JavaScript sends whole doubles as ints.
    #[inline]
    pub fn fits(self, expected: Self) -> bool {
        expected == Self::Any
            || self == expected
            || (self == Self::Int && expected == Self::Double)
            || (self == Self::Ints && expected == Self::Doubles)
    }
}

/// The type of a value; None for what a registry has no type for: no value, bytes, maps, mixed or empty lists, and
/// numbers that JSON cannot carry.
#[inline]
pub fn type_of(value: AnyValue<'_>) -> Option<Type> {
    match value {
        AnyValue::Str(_) => Some(Type::String),
        AnyValue::Bool(_) => Some(Type::Boolean),
        AnyValue::Int(_) => Some(Type::Int),
        AnyValue::Double(value) => value.is_finite().then_some(Type::Double),
        AnyValue::Array(body) => type_of_list(body),
        AnyValue::Empty | AnyValue::Kvlist(_) | AnyValue::Bytes(_) => None,
    }
}

fn type_of_list(body: &[u8]) -> Option<Type> {
    let mut list = None;
    for element in fields(body).flatten() {
        let element = match AnyValue::parse(element.value.bytes()) {
            AnyValue::Array(_) => return None,
            plain => type_of(plain),
        };
        list = match (list, element) {
            (list, None) => list,
            (None, Some(first)) => Some(first),
            (Some(one), Some(other)) if one == other => list,
            (Some(Type::Int | Type::Double), Some(Type::Int | Type::Double)) => Some(Type::Double),
            _ => return None,
        };
    }
    Some(match list? {
        Type::Boolean => Type::Booleans,
        Type::Int => Type::Ints,
        Type::Double => Type::Doubles,
        _ => Type::Strings,
    })
}
