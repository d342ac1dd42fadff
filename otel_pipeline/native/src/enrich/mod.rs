//! Enrichment: canonical attributes on traces, metrics and logs, by a plan compiled from semantic-convention files.
//!
//! `plan` is what the compiler wrote, made ready; `analysis` decides what every resource, scope and span gets,
//! `inherit` what spans take from their ancestors, and `pass` writes it.

pub mod analysis;
pub mod gather;
pub mod header;
pub mod inherit;
pub mod pass;
pub mod plan;
pub mod value;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::batch::Batch;
use crate::matcher::compile_regex;

/// A compiled enrichment plan.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct SemconvPlan {
    plan: plan::Plan,
}

#[pymethods]
impl SemconvPlan {
    #[new]
    fn new(text: &str) -> PyResult<Self> {
        let plan = plan::Plan::parse(text).map_err(PyValueError::new_err)?;
        Ok(Self { plan })
    }
}

/// What `enrich` could not resolve.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct EnrichFindings {
    pub unresolved: Vec<(String, String, u64)>,
}

/// Enriches a batch; see `_native.pyi`.
#[pyfunction]
pub fn enrich(
    py: Python<'_>,
    batch: Bound<'_, Batch>,
    plan: &SemconvPlan,
) -> PyResult<(Py<Batch>, Option<EnrichFindings>)> {
    let whole = batch.get();
    let (signal, data) = (whole.signal, whole.bytes(py));
    let (edited, unresolved) = py.detach(|| pass::enrich(&plan.plan, signal, data));
    let enriched = match edited {
        Some(data) => Py::new(py, Batch::from_vec(signal, data, whole.item_count()))?,
        None => batch.unbind(),
    };
    let unresolved = unresolved.into_iter();
    let unresolved: Vec<_> = unresolved
        .map(|((sender, key), count)| (sender, key, count))
        .collect();
    let findings = (!unresolved.is_empty()).then_some(EnrichFindings { unresolved });
    Ok((enriched, findings))
}

/// What is wrong with a pattern of the rules' regular expressions; None for a good one.
#[pyfunction]
pub fn regex_problem(pattern: &str) -> Option<String> {
    let error = compile_regex(pattern).err()?;
    Some(error.lines().last().unwrap_or_default().trim().to_owned())
}
