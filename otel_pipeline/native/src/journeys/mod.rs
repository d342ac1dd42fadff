//! Requirement journeys: what batches tell of them, and the runs that stored spans come to.

pub mod chunk;
pub mod extract;
pub mod names;
pub mod plan;
pub mod runs;
pub mod spans;
pub mod tree;

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::Batch;
use extract::{Extracted, Extractor, Period};
use names::Name;
use plan::Plan;
use runs::RunMaker;

/// A compiled plan; see `_native.pyi`.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct JourneyPlan {
    extractor: Extractor,
    runs: Mutex<RunMaker>,
}

type NameRow = (String, String, String);
type ChunkRow = (String, u64, u64, u64, Py<PyBytes>, Vec<String>, Vec<usize>);
type EdgeRow = (usize, usize, u64, u64, u64, String);
type SightingRow = (usize, String, u64, u64, u64);
type Rows = (
    Vec<ChunkRow>,
    Vec<(String, String)>,
    Vec<NameRow>,
    Vec<EdgeRow>,
    Vec<SightingRow>,
    Vec<(&'static str, u64)>,
);

#[pymethods]
impl JourneyPlan {
    #[new]
    fn new(plan: &str) -> PyResult<Self> {
        let compiled = Plan::parse(plan).and_then(|plan| {
            Ok(Self {
                extractor: Extractor::new(&plan),
                runs: Mutex::new(RunMaker::new(plan)?),
            })
        });
        compiled.map_err(PyValueError::new_err)
    }

    fn extract(&self, py: Python<'_>, batches: Vec<Bound<'_, Batch>>) -> Rows {
        let parts = batches.iter().map(Bound::get);
        let parts: Vec<_> = parts.map(|batch| (batch.signal, batch.bytes(py))).collect();
        let extracted = py.detach(|| self.extractor.extract(&parts));
        self.rows(py, extracted)
    }

    fn runs(&self, py: Python<'_>, blobs: Vec<Vec<u8>>) -> Py<PyBytes> {
        let json = py.detach(|| {
            let messages: Vec<_> = blobs
                .iter()
                .filter_map(|blob| chunk::unpack(blob))
                .collect();
            let mut maker = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            let runs = maker.runs(messages.iter().map(Vec::as_slice));
            serde_json::to_vec(&runs).unwrap_or_else(|_| b"[]".to_vec())
        });
        PyBytes::new(py, &json).unbind()
    }
}

impl JourneyPlan {
    fn rows(&self, py: Python<'_>, extracted: Extracted) -> Rows {
        let name = |Name { kind, scope, value }| {
            (
                self.extractor.names.kind_name(kind).to_owned(),
                scope,
                value,
            )
        };
        let chunks = extracted.chunks.into_iter().map(|chunk| {
            let links = chunk.links.into_iter().map(hex);
            (
                hex(chunk.trace_id),
                chunk.start_ns,
                chunk.end_ns,
                chunk.spans,
                PyBytes::new(py, &chunk.blob).unbind(),
                links.collect(),
                chunk.operations,
            )
        });
        let edges = extracted
            .edges
            .into_iter()
            .map(|(cause, product, seen, trace_id)| {
                let Period {
                    first_ns,
                    last_ns,
                    items,
                } = seen;
                (
                    cause,
                    product,
                    first_ns,
                    last_ns,
                    items,
                    trace_id.map_or_else(String::new, hex),
                )
            });
        let sightings = extracted.sightings.into_iter();
        let left_out = extracted.left_out;
        (
            chunks.collect(),
            extracted.operations,
            extracted.names.into_iter().map(name).collect(),
            edges.collect(),
            sightings
                .map(|(name, trace_id, seen)| {
                    (name, hex(trace_id), seen.first_ns, seen.last_ns, seen.items)
                })
                .collect(),
            vec![
                ("too_long", left_out.too_long),
                ("too_many", left_out.too_many),
                ("no_scope", left_out.no_scope),
                ("no_trace", extracted.no_trace),
            ],
        )
    }
}

fn hex(trace_id: u128) -> String {
    format!("{trace_id:032x}")
}

/// The message in a blob of a chunk; see `_native.pyi`.
#[pyfunction]
pub fn unpack_chunk(py: Python<'_>, blob: &[u8]) -> Option<Py<PyBytes>> {
    let message = py.detach(|| chunk::unpack(blob))?;
    Some(PyBytes::new(py, &message).unbind())
}
