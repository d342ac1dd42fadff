//! Spans into cumulative metrics by a plan: each span as it arrives, or late, when the rest of its trace is known.

pub mod decide;
pub mod encode;
pub mod engine;
pub mod extract;
pub mod hash;
pub mod intern;
pub mod keys;
pub mod plan;
pub mod select;
pub mod series;
pub mod traces;
pub mod usage;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::batch::Batch;
use crate::otlp::Signal;
use engine::Engine;
use plan::Plan;

/// The Python face of `Engine`; see `_native.pyi`.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct SpanAggregator(Mutex<Engine>);

impl SpanAggregator {
    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encode(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Engine) -> (Vec<u8>, u64) + Send,
    ) -> Option<Batch> {
        let (data, points) = py.detach(|| work(&mut self.lock()));
        (points > 0).then(|| Batch::from_vec(Signal::Metrics, data, points))
    }
}

#[pymethods]
impl SpanAggregator {
    #[new]
    fn new(plan: &str, start_unix_ns: u64) -> PyResult<Self> {
        let plan = Plan::parse(plan).map_err(PyValueError::new_err)?;
        Ok(Self(Mutex::new(Engine::new(plan, start_unix_ns))))
    }

    fn update(&self, py: Python<'_>, batch: &Batch, now_ns: u64) -> PyResult<u64> {
        if batch.signal != Signal::Traces {
            return Err(PyValueError::new_err(
                "SpanAggregator takes batches of traces",
            ));
        }
        let data = batch.bytes(py);
        Ok(py.detach(|| self.lock().update(data, now_ns)))
    }

    fn flush(&self, py: Python<'_>, now_ns: u64, unix_ns: u64) -> Option<Batch> {
        self.encode(py, |engine| engine.flush(now_ns, unix_ns))
    }

    fn flush_all(&self, py: Python<'_>, now_ns: u64, unix_ns: u64) -> Option<Batch> {
        self.encode(py, |engine| engine.flush_all(now_ns, unix_ns))
    }

    #[getter]
    fn waiting(&self) -> u64 {
        self.lock().waiting()
    }

    fn stats(&self) -> BTreeMap<&'static str, u64> {
        self.lock().stats()
    }
}
