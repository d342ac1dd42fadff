//! From a received body to a checked `Batch`, and from a batch to OTLP/JSON.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::{Batch, parse_signal};
use crate::check::clean_items;
use crate::findings::Tally;
use crate::json_read;
use crate::json_write;
use crate::limits::Limits;
use crate::otlp::Signal;
use crate::repair::repair;
use crate::schema::request;

pyo3::import_exception!(otel_pipeline.errors, DecodeError);

/// Below this a check costs less than letting go of the interpreter and getting it back.
const DETACH_BYTES: usize = 8 * 1024;

/// What `decode` rejected and repaired.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct Findings {
    pub rejected: u64,
    pub message: String,
    pub counts: BTreeMap<&'static str, u64>,
}

/// Checks `body` and makes a batch of it; see `_native.pyi`.
#[pyfunction]
pub fn decode(
    py: Python<'_>,
    signal: &str,
    body: Bound<'_, PyBytes>,
    json: bool,
    limits: &Limits,
) -> PyResult<(Batch, Option<Findings>)> {
    let signal = parse_signal(signal)?;
    let data = body.as_bytes();
    let read = || match json {
        true => read_json(signal, data, limits),
        false => read_protobuf(signal, data, limits),
    };
    let checked = if data.len() < DETACH_BYTES {
        read()
    } else {
        py.detach(read)
    };
    let checked = checked.map_err(DecodeError::new_err)?;
    let batch = match checked.body {
        Some(body) => Batch::from_vec(signal, body, checked.items),
        None => Batch::new(signal, body.unbind(), checked.items),
    };
    let findings = (!checked.tally.is_empty()).then(|| Findings {
        rejected: checked.tally.rejected,
        message: checked.tally.message(signal),
        counts: checked.tally.counts(),
    });
    Ok((batch, findings))
}

/// A request that keeps the rules.
pub struct Checked {
    /// None where the received bytes can stay as they are.
    pub body: Option<Vec<u8>>,
    pub items: u64,
    pub tally: Tally,
}

/// Checks a protobuf request and repairs it where needed; the error says where it cannot be read.
pub fn read_protobuf(signal: Signal, body: &[u8], limits: &Limits) -> Result<Checked, String> {
    let message = request(signal);
    if let Some(items) = clean_items(message, body, limits) {
        return Ok(Checked {
            body: None,
            items,
            tally: Tally::default(),
        });
    }
    let repaired = repair(message, body, limits)?;
    Ok(Checked {
        body: repaired.changed.then_some(repaired.body),
        items: repaired.items,
        tally: repaired.tally,
    })
}

/// As `read_protobuf`, for OTLP/JSON: the same rules hold for the protobuf that it becomes.
pub fn read_json(signal: Signal, text: &[u8], limits: &Limits) -> Result<Checked, String> {
    let message = request(signal);
    let (body, tally) = json_read::read(message, text, limits)?;
    let mut checked = read_protobuf(signal, &body, limits)?;
    checked.tally.extend(&tally);
    checked.body.get_or_insert(body);
    Ok(checked)
}

/// The request as compact OTLP/JSON; see `_native.pyi`.
#[pyfunction]
pub fn to_json<'py>(py: Python<'py>, batch: &Batch) -> Bound<'py, PyBytes> {
    let (message, data) = (request(batch.signal), batch.bytes(py));
    let text = py.detach(|| json_write::write(message, data));
    PyBytes::new(py, &text)
}
