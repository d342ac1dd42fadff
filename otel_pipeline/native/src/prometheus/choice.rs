//! Which attributes become labels, and under which name where the registry gives one.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

/// What the configuration says; it knows the names, not this code.
#[derive(Default)]
pub struct Choice {
    exact: HashSet<String>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
    given: HashMap<String, String>,
    /// All attributes of the resource become labels.
    pub resource: bool,
    /// But not the three that name its service.
    pub without_service: bool,
}

impl Choice {
    /// `dropped` are keys, or keys with one `*` at the start or the end. `given` are keys and their labels, which are
    /// taken from the resource too.
    pub fn new(
        dropped: Vec<String>,
        given: Vec<(String, String)>,
        resource: bool,
        without_service: bool,
    ) -> Self {
        let mut choice = Self {
            given: given.into_iter().collect(),
            resource,
            without_service,
            ..Self::default()
        };
        for key in dropped {
            if let Some(suffix) = key.strip_prefix('*') {
                choice.suffixes.push(suffix.to_owned());
            } else if let Some(prefix) = key.strip_suffix('*') {
                choice.prefixes.push(prefix.to_owned());
            } else {
                choice.exact.insert(key);
            }
        }
        choice
    }

    /// Whether this attribute never becomes a label.
    pub fn drops(&self, key: &str) -> bool {
        self.exact.contains(key)
            || self.suffixes.iter().any(|suffix| key.ends_with(suffix))
            || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    pub fn given(&self, key: &str) -> Option<&str> {
        self.given.get(key).map(String::as_str)
    }
}
