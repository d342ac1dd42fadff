//! What can be found, with the ids and levels of OpenTelemetry Weaver's `registry live-check`.
#![forbid(unsafe_code)]

/// How bad a finding is; the worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Information,
    Improvement,
    Violation,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::Information, Self::Improvement, Self::Violation];

    pub fn name(self) -> &'static str {
        match self {
            Self::Information => "information",
            Self::Improvement => "improvement",
            Self::Violation => "violation",
        }
    }
}

/// The kinds of findings. Source: `weaver.finding.id` in Weaver's `crates/weaver_live_check/model`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    MissingAttribute,
    TemplateAttribute,
    MissingMetric,
    MissingEvent,
    Deprecated,
    TypeMismatch,
    NotStable,
    UnitMismatch,
    UnexpectedInstrument,
    UndefinedEnumVariant,
    RequiredAttributeNotPresent,
    RecommendedAttributeNotPresent,
    OptInAttributeNotPresent,
    ConditionallyRequiredAttributeNotPresent,
    MissingNamespace,
    InvalidFormat,
    IllegalNamespace,
    ExtendsNamespace,
}

pub const IDS: usize = 18;

impl Id {
    /// In the order of the enum.
    pub const ALL: [Self; IDS] = [
        Self::MissingAttribute,
        Self::TemplateAttribute,
        Self::MissingMetric,
        Self::MissingEvent,
        Self::Deprecated,
        Self::TypeMismatch,
        Self::NotStable,
        Self::UnitMismatch,
        Self::UnexpectedInstrument,
        Self::UndefinedEnumVariant,
        Self::RequiredAttributeNotPresent,
        Self::RecommendedAttributeNotPresent,
        Self::OptInAttributeNotPresent,
        Self::ConditionallyRequiredAttributeNotPresent,
        Self::MissingNamespace,
        Self::InvalidFormat,
        Self::IllegalNamespace,
        Self::ExtendsNamespace,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::MissingAttribute => "missing_attribute",
            Self::TemplateAttribute => "template_attribute",
            Self::MissingMetric => "missing_metric",
            Self::MissingEvent => "missing_event",
            Self::Deprecated => "deprecated",
            Self::TypeMismatch => "type_mismatch",
            Self::NotStable => "not_stable",
            Self::UnitMismatch => "unit_mismatch",
            Self::UnexpectedInstrument => "unexpected_instrument",
            Self::UndefinedEnumVariant => "undefined_enum_variant",
            Self::RequiredAttributeNotPresent => "required_attribute_not_present",
            Self::RecommendedAttributeNotPresent => "recommended_attribute_not_present",
            Self::OptInAttributeNotPresent => "opt_in_attribute_not_present",
            Self::ConditionallyRequiredAttributeNotPresent => {
                "conditionally_required_attribute_not_present"
            }
            Self::MissingNamespace => "missing_namespace",
            Self::InvalidFormat => "invalid_format",
            Self::IllegalNamespace => "illegal_namespace",
            Self::ExtendsNamespace => "extends_namespace",
        }
    }

    pub fn level(self) -> Level {
        match self {
            Self::NotStable | Self::RecommendedAttributeNotPresent | Self::MissingNamespace => {
                Level::Improvement
            }
            Self::TemplateAttribute
            | Self::UndefinedEnumVariant
            | Self::OptInAttributeNotPresent
            | Self::ConditionallyRequiredAttributeNotPresent
            | Self::ExtendsNamespace => Level::Information,
            _ => Level::Violation,
        }
    }
}

/// One thing to tell, as Weaver words it.
#[derive(Debug, Clone)]
pub struct Told {
    pub id: Id,
    pub message: String,
    pub context: Vec<(&'static str, String)>,
}

impl Told {
    pub fn new(id: Id, message: String, context: Vec<(&'static str, String)>) -> Self {
        Self {
            id,
            message,
            context,
        }
    }
}

/// The worst level of some findings.
pub fn worst(told: &[Told]) -> Option<Level> {
    told.iter().map(|told| told.id.level()).max()
}
