//! The plan of journeys: which attributes name things, which values never do, and what runs are made of. Python writes
//! it and tells what it means (`otel_pipeline/semconv/identities.py`).
#![forbid(unsafe_code)]

use serde::Deserialize;

use crate::aggregate::usage::rules::UsagePlan;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub max_key_bytes: usize,
    /// Kinds of keys in causal order.
    pub kinds: Vec<KindPlan>,
    pub keys: Vec<KeyPlan>,
    /// Attributes that are not stored.
    pub content: Vec<String>,
    /// Told as they are, each under the first of its names.
    pub facts: Vec<Vec<String>>,
    pub run: RunPlan,
    #[serde(default)]
    pub usage: Option<UsagePlan>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindPlan {
    pub kind: String,
    /// Asked for where journeys are resolved.
    #[serde(rename = "reuse")]
    _reuse: bool,
    /// Globs over values in lower case that name nothing.
    pub never: Vec<String>,
    pub lower_case: bool,
}

/// Where keys of a kind are found; lists are in order of preference.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPlan {
    pub kind: String,
    pub attributes: Vec<String>,
    pub within: Vec<String>,
    pub or_within: Vec<String>,
    pub prefix: String,
    pub optional: bool,
}

/// What runs are cut by, and what is told of them: attribute keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPlan {
    pub stage: String,
    pub model: String,
    pub outcome: String,
    pub stage_run: String,
    pub noise: String,
    pub success: String,
    pub failure: String,
    pub requirement: String,
    pub agent: String,
    pub error_type: String,
    pub intervention: Vec<String>,
    /// Stage and requirement are inherited here, and nothing else.
    #[serde(rename = "inherited")]
    _inherited: Vec<String>,
    #[serde(rename = "project")]
    _project: String,
    #[serde(rename = "operation")]
    _operation: String,
}

impl Plan {
    /// Reads a plan; the error says what is wrong with it.
    pub fn parse(json: &str) -> Result<Self, String> {
        let plan: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let known = |kind: &str| plan.kinds.iter().any(|one| one.kind == kind);
        if let Some(key) = plan.keys.iter().find(|key| !known(&key.kind)) {
            return Err(format!("unknown kind {:?}", key.kind));
        }
        if plan.kinds.len() > usize::from(u8::MAX) {
            return Err("more than 255 kinds".to_owned());
        }
        Ok(plan)
    }
}
