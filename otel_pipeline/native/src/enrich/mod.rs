//! Enrichment: canonical attributes on traces, metrics and logs, by a plan compiled from semantic-convention files.

use pyo3::prelude::*;

/// What is wrong with a pattern of the rules' regular expressions; None for a good one.
#[pyfunction]
pub fn regex_problem(pattern: &str) -> Option<String> {
    let error = regex::Regex::new(pattern).err()?.to_string();
    Some(error.lines().last().unwrap_or_default().trim().to_owned())
}
