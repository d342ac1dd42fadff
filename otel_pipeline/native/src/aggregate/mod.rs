//! Spans, log records and data points into cumulative metrics by a plan: each item as it arrives, or late, when the
//! rest of its trace is known.

pub mod claims;
pub mod decide;
pub mod encode;
pub mod engine;
pub mod events;
pub mod extract;
pub mod hash;
pub mod intern;
pub mod keys;
pub mod labels;
pub mod late;
pub mod metrics;
pub mod plan;
pub mod point;
pub mod points;
pub mod rows;
pub mod select;
pub mod series;
pub mod slots;
pub mod streams;
pub mod table;
pub mod text;
pub mod told;
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
use rows::TextRow;

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
        let engine = Plan::parse(plan).and_then(|plan| Engine::new(plan, start_unix_ns));
        Ok(Self(Mutex::new(engine.map_err(PyValueError::new_err)?)))
    }

    fn update(
        &self,
        py: Python<'_>,
        batch: Bound<'_, Batch>,
        now_ns: u64,
    ) -> PyResult<(u64, Option<Py<Batch>>)> {
        let (signal, data) = (batch.get().signal, batch.get().bytes(py));
        match signal {
            Signal::Traces => {
                let left_out = py.detach(|| self.lock().update_traces(data, now_ns));
                Ok((left_out, None))
            }
            Signal::Logs => {
                let left_out = py.detach(|| self.lock().update_logs(data, now_ns));
                Ok((left_out, None))
            }
            Signal::Metrics => {
                let rest = py.detach(|| self.lock().update_metrics(data, now_ns));
                Ok((0, untaken(py, batch, rest)?))
            }
        }
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

    #[getter]
    fn waiting_events(&self) -> u64 {
        self.lock().waiting_events()
    }

    fn stats(&self) -> BTreeMap<&'static str, u64> {
        self.lock().stats()
    }

    fn take_rows(
        &self,
        py: Python<'_>,
        now_ns: u64,
        everything: bool,
    ) -> BTreeMap<String, Vec<TextRow>> {
        py.detach(|| self.lock().take_rows(now_ns, everything))
    }

    fn missing_prices(&self) -> BTreeMap<String, u64> {
        self.lock().missing_prices()
    }
}

/// What is to be passed on of a batch, of which `rest` is left and so many points are taken.
fn untaken(
    py: Python<'_>,
    batch: Bound<'_, Batch>,
    rest: Option<(Vec<u8>, u64)>,
) -> PyResult<Option<Py<Batch>>> {
    let Some((data, taken)) = rest else {
        return Ok(Some(batch.unbind()));
    };
    let items = batch.get().item_count().saturating_sub(taken);
    let rest = (items > 0).then(|| Py::new(py, Batch::from_vec(Signal::Metrics, data, items)));
    rest.transpose()
}
