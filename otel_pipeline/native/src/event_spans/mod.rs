//! Spans from log records that stand for work, where the same work does not arrive as spans.

pub mod engine;
pub mod held;
pub mod ids;
pub mod plan;
pub mod recent;
pub mod record;
pub mod sent;

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
pub struct EventSpans(Mutex<Engine>);

impl EventSpans {
    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl EventSpans {
    #[new]
    fn new(plan: &str) -> PyResult<Self> {
        let plan = Plan::parse(plan).map_err(PyValueError::new_err)?;
        Ok(Self(Mutex::new(Engine::new(plan))))
    }

    fn update(&self, py: Python<'_>, batch: &Batch, now_ns: u64, unix_ns: u64) {
        let (signal, data) = (batch.signal, batch.bytes(py));
        py.detach(|| match signal {
            Signal::Logs => self.lock().update_logs(data, now_ns, unix_ns),
            Signal::Traces => self.lock().update_traces(data, now_ns),
            Signal::Metrics => {}
        });
    }

    #[pyo3(signature = (now_ns, *, everything = false))]
    fn flush(&self, py: Python<'_>, now_ns: u64, everything: bool) -> Option<Batch> {
        let (data, spans) = py.detach(|| self.lock().flush(now_ns, everything));
        (spans > 0).then(|| Batch::from_vec(Signal::Traces, data, spans))
    }

    #[getter]
    fn waiting(&self) -> u64 {
        self.lock().waiting()
    }

    fn stats(&self) -> BTreeMap<&'static str, u64> {
        self.lock().stats()
    }
}
