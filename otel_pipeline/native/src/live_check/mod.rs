//! Live-check: telemetry compared with a registry, with the findings and statistics of OpenTelemetry Weaver.
//!
//! `plan` makes the registry ready, `subject` says what it knows of an attribute, metric or event, `check` walks
//! requests and counts in `tables`, `report` words what was counted.

pub mod check;
pub mod finding;
pub mod plan;
pub mod report;
pub mod subject;
pub mod tables;
pub mod value;

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::batch::Batch;
use check::{Checker, Limits};
use finding::Id;
use plan::Registry;

/// The Python face of `Checker`; see `_native.pyi`.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct LiveCheck(Mutex<Checker>);

impl LiveCheck {
    fn lock(&self) -> MutexGuard<'_, Checker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl LiveCheck {
    #[new]
    #[pyo3(signature = (plan_json, *, max_names=2000, max_texts=4000, max_findings=20_000))]
    fn new(
        plan_json: &str,
        max_names: usize,
        max_texts: usize,
        max_findings: usize,
    ) -> PyResult<Self> {
        let registry = Registry::parse(plan_json).map_err(PyValueError::new_err)?;
        let limits = Limits {
            names: max_names,
            texts: max_texts,
            cells: max_findings,
        };
        Ok(Self(Mutex::new(Checker::new(registry, limits))))
    }

    fn update(&self, py: Python<'_>, batch: &Batch) -> Vec<(&'static str, &'static str, u64)> {
        let data = batch.bytes(py);
        let counts = py.detach(|| {
            let mut checker = self.lock();
            let before = checker.by_id;
            checker.update(batch.signal, data);
            Id::ALL.map(|id| checker.by_id[id as usize] - before[id as usize])
        });
        Id::ALL
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .map(|(id, count)| (id.name(), id.level().name(), count))
            .collect()
    }

    fn report(&self, py: Python<'_>) -> String {
        py.detach(|| report::report(&self.lock()))
    }
}
