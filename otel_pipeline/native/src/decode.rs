//! From a received body to a checked `Batch`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::{Batch, parse_signal};
use crate::otlp::{ITEMS, RESOURCE_ITEMS, SCOPE_ITEMS, children, count_items};
use crate::wire;

pyo3::import_exception!(otel_pipeline.errors, DecodeError);

/// Bounds of what a sender may put into one item.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct Limits {
    pub max_depth: usize,
    pub max_attributes: usize,
    pub max_key_bytes: usize,
    pub max_value_bytes: usize,
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (*, max_depth=32, max_attributes=128, max_key_bytes=256, max_value_bytes=65536))]
    fn new(
        max_depth: usize,
        max_attributes: usize,
        max_key_bytes: usize,
        max_value_bytes: usize,
    ) -> Self {
        Self {
            max_depth,
            max_attributes,
            max_key_bytes,
            max_value_bytes,
        }
    }
}

/// What `decode` rejected and repaired.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct Findings {
    pub rejected: u64,
    pub message: String,
    pub counts: std::collections::BTreeMap<&'static str, u64>,
}

/// Checks `body` and makes a batch of it; see `_native.pyi`.
#[pyfunction]
pub fn decode(
    py: Python<'_>,
    signal: &str,
    body: Bound<'_, PyBytes>,
    json: bool,
    _limits: &Limits,
) -> PyResult<(Batch, Option<Findings>)> {
    let signal = parse_signal(signal)?;
    if json {
        return Err(DecodeError::new_err("OTLP/JSON cannot be read yet"));
    }
    let data = body.as_bytes();
    py.detach(|| check(data))
        .map_err(|error| DecodeError::new_err(error.to_string()))?;
    Ok((
        Batch::new(signal, body.clone().unbind(), count_items(signal, data)),
        None,
    ))
}

fn check(message: &[u8]) -> wire::Result<()> {
    for resource in children(message, RESOURCE_ITEMS) {
        for scope in children(resource?.value.bytes(), SCOPE_ITEMS) {
            for item in children(scope?.value.bytes(), ITEMS) {
                for field in wire::fields(item?.value.bytes()) {
                    field?;
                }
            }
        }
    }
    Ok(())
}
