//! Enrichment: canonical attributes on traces, metrics and logs, by a plan compiled from semantic-convention files.
//!
//! `compile` makes a `plan` ready; `around` and `decide` find what resources, scopes and items get (an `analysis`), `inherit`
//! what spans take from their ancestors, and `pass` writes it. `findings` counts what stayed unknown; `explain` watches
//! a pass and tells why.

pub mod analysis;
pub mod around;
pub mod compile;
pub mod decide;
pub mod explain;
pub mod findings;
pub mod gather;
pub mod header;
pub mod inherit;
pub mod item;
pub mod memo;
pub mod observe;
pub mod pass;
pub mod plan;
pub mod rule_set;
pub mod scratch;
pub mod value;

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::batch::Batch;
use crate::matcher::compile_regex;
use findings::Findings;
use scratch::Scratch;

/// A compiled enrichment plan, and what batches left of findings and room.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct SemconvPlan {
    plan: plan::Plan,
    kept: Mutex<Kept>,
    senders_limit: usize,
}

struct Kept {
    findings: Findings,
    scratch: Option<Scratch<'static>>,
}

impl SemconvPlan {
    /// Enriches a batch; None where nothing is to be written. `findings` are the plan's own where None are given.
    fn run(&self, batch: &Batch, data: &[u8], findings: Option<&mut Findings>) -> Option<Vec<u8>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = kept.scratch.take();
        let mut scratch = scratch.map_or_else(|| Scratch::new(&self.plan), Scratch::recycled);
        let findings = findings.unwrap_or(&mut kept.findings);
        let signal = batch.signal;
        let edited = pass::enrich(&self.plan, &mut scratch, signal, data, findings, &mut ());
        if !scratch.is_large() {
            kept.scratch = Some(scratch.recycled());
        }
        edited
    }

    fn edited(
        &self,
        batch: Bound<'_, Batch>,
        findings: Option<&mut Findings>,
    ) -> PyResult<Py<Batch>> {
        let py = batch.py();
        let whole = batch.get();
        let data = whole.bytes(py);
        match py.detach(|| self.run(whole, data, findings)) {
            Some(data) => {
                let items = whole.item_count();
                Py::new(py, Batch::from_vec(whole.signal, data, items))
            }
            None => Ok(batch.unbind()),
        }
    }

    fn findings(&self, findings: &mut Findings) -> Option<EnrichFindings> {
        let (unresolved, unexpected) = findings.take(&self.plan);
        let any = !(unresolved.is_empty() && unexpected.is_empty());
        any.then_some(EnrichFindings {
            unresolved,
            unexpected,
        })
    }
}

#[pymethods]
impl SemconvPlan {
    #[new]
    #[pyo3(signature = (text, senders_limit = 100))]
    fn new(text: &str, senders_limit: usize) -> PyResult<Self> {
        let plan = plan::Plan::parse(text).map_err(PyValueError::new_err)?;
        let kept = Kept {
            findings: Findings::new(&plan, senders_limit),
            scratch: None,
        };
        Ok(Self {
            plan,
            kept: Mutex::new(kept),
            senders_limit,
        })
    }

    /// See `_native.pyi`.
    fn enrich(&self, batch: Bound<'_, Batch>) -> PyResult<Py<Batch>> {
        self.edited(batch, None)
    }

    /// See `_native.pyi`.
    fn explain(&self, py: Python<'_>, batch: &Batch) -> String {
        let (signal, data) = (batch.signal, batch.bytes(py));
        py.detach(|| {
            let mut recorder = explain::Recorder::new(&self.plan);
            let mut findings = Findings::new(&self.plan, self.senders_limit);
            let mut scratch = Scratch::new(&self.plan);
            pass::enrich(
                &self.plan,
                &mut scratch,
                signal,
                data,
                &mut findings,
                &mut recorder,
            );
            recorder.json()
        })
    }

    /// See `_native.pyi`.
    fn take_findings(&self) -> Option<EnrichFindings> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.findings(&mut kept.findings)
    }
}

/// What could not be resolved.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct EnrichFindings {
    pub unresolved: findings::Counts,
    pub unexpected: findings::Counts,
}

/// Enriches a batch; see `_native.pyi`.
#[pyfunction]
pub fn enrich(
    batch: Bound<'_, Batch>,
    plan: &SemconvPlan,
) -> PyResult<(Py<Batch>, Option<EnrichFindings>)> {
    let mut findings = Findings::new(&plan.plan, plan.senders_limit);
    let enriched = plan.edited(batch, Some(&mut findings))?;
    Ok((enriched, plan.findings(&mut findings)))
}

/// What is wrong with a pattern of the rules' regular expressions; None for a good one.
#[pyfunction]
pub fn regex_problem(pattern: &str) -> Option<String> {
    let error = compile_regex(pattern).err()?;
    Some(error.lines().last().unwrap_or_default().trim().to_owned())
}
