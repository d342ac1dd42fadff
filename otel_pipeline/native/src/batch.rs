//! `Batch`: one OTLP export request of one signal, immutable, with what is known of it without looking inside.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use crate::otlp::{
    ITEMS, RESOURCE, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, Signal, child, count_items, data_points,
};
use crate::wire::{Value, fields, put_bytes_field, put_message};

#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct Batch {
    pub signal: Signal,
    data: Data,
    items: u64,
}

/// Received bytes are Python's and are kept as they are; edited ones are ours, and copied only for who asks.
enum Data {
    Received(Py<PyBytes>),
    Edited(Arc<Vec<u8>>, PyOnceLock<Py<PyBytes>>),
}

impl Batch {
    /// Takes bytes that were checked, and their number of items, as they are.
    pub fn new(signal: Signal, data: Py<PyBytes>, items: u64) -> Self {
        Self::with(signal, Data::Received(data), items)
    }

    /// A new batch of `data`, which must be a well-formed request with `items` items.
    pub fn from_vec(signal: Signal, data: Vec<u8>, items: u64) -> Self {
        Self::with(signal, Data::edited(Arc::new(data)), items)
    }

    fn with(signal: Signal, data: Data, items: u64) -> Self {
        Self {
            signal,
            data,
            items,
        }
    }

    /// The request as protobuf. The bytes live as long as the batch and never change.
    pub fn bytes<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        match &self.data {
            Data::Received(data) => data.as_bytes(py),
            Data::Edited(data, _) => data,
        }
    }

    pub fn item_count(&self) -> u64 {
        self.items
    }

    /// The batch after an edit: the edited bytes, or this very batch's bytes where nothing changed.
    pub fn replaced(&self, py: Python<'_>, edited: Option<Vec<u8>>, items: u64) -> Self {
        let data = match (edited, &self.data) {
            (Some(data), _) => Data::edited(Arc::new(data)),
            (None, Data::Received(data)) => Data::Received(data.clone_ref(py)),
            (None, Data::Edited(data, _)) => Data::edited(Arc::clone(data)),
        };
        Self::with(self.signal, data, items)
    }
}

impl Data {
    fn edited(data: Arc<Vec<u8>>) -> Self {
        Self::Edited(data, PyOnceLock::new())
    }
}

#[pymethods]
impl Batch {
    #[getter]
    fn signal(&self) -> &'static str {
        self.signal.name()
    }

    #[getter]
    fn items(&self) -> u64 {
        self.items
    }

    #[getter]
    fn data(&self, py: Python<'_>) -> Py<PyBytes> {
        match &self.data {
            Data::Received(data) => data.clone_ref(py),
            Data::Edited(data, copy) => {
                let copy = copy.get_or_init(py, || PyBytes::new(py, data).unbind());
                copy.clone_ref(py)
            }
        }
    }

    #[getter]
    fn size_bytes(&self, py: Python<'_>) -> usize {
        self.bytes(py).len()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!(
            "Batch({}, items={}, size_bytes={})",
            self.signal.name(),
            self.items,
            self.size_bytes(py)
        )
    }
}

/// Joins batches of one signal: repeated fields concatenate, so the parts' bytes follow one another unchanged.
#[pyfunction]
pub fn merge(py: Python<'_>, batches: Vec<PyRef<'_, Batch>>) -> PyResult<Batch> {
    let Some(first) = batches.first() else {
        return Err(pyo3::exceptions::PyValueError::new_err(
            "merge needs at least one batch",
        ));
    };
    if batches.iter().any(|batch| batch.signal != first.signal) {
        return Err(pyo3::exceptions::PyValueError::new_err(
            "merge needs batches of one signal",
        ));
    }
    let size = batches.iter().map(|batch| batch.bytes(py).len()).sum();
    let items = batches.iter().map(|batch| batch.items).sum();
    let data = PyBytes::new_with(py, size, |out| {
        let mut at = 0;
        for batch in &batches {
            let part = batch.bytes(py);
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Ok(())
    })?;
    Ok(Batch::new(first.signal, data.unbind(), items))
}

/// Cuts a batch into batches of at most `max_items` items and about `max_bytes` bytes (0 = no limit), in order.
/// A single item over `max_bytes` stands alone; a metric is never cut between its data points.
#[pyfunction]
pub fn split(
    py: Python<'_>,
    batch: Bound<'_, Batch>,
    max_items: u64,
    max_bytes: usize,
) -> PyResult<Vec<Py<Batch>>> {
    let whole = batch.get();
    let fits = (max_items == 0 || whole.items <= max_items)
        && (max_bytes == 0 || whole.bytes(py).len() <= max_bytes);
    if fits {
        return Ok(vec![batch.clone().unbind()]);
    }
    let (signal, data) = (whole.signal, whole.bytes(py));
    let parts = py.detach(|| cut(signal, data, max_items, max_bytes));
    parts
        .into_iter()
        .map(|(part, items)| Py::new(py, Batch::from_vec(signal, part, items)))
        .collect()
}

/// The parts of a request and the number of items in each.
pub fn cut(
    signal: Signal,
    message: &[u8],
    max_items: u64,
    max_bytes: usize,
) -> Vec<(Vec<u8>, u64)> {
    let mut parts = Parts {
        signal,
        max_items,
        max_bytes,
        done: Vec::new(),
        open: Vec::new(),
        items: 0,
    };
    for field in fields(message).flatten() {
        match (field.number, field.value) {
            (RESOURCE_ITEMS, Value::Bytes(body)) => parts.resource_items(body),
            _ => parts.open.extend_from_slice(field.raw),
        }
    }
    parts.close();
    parts.done
}

struct Parts {
    signal: Signal,
    max_items: u64,
    max_bytes: usize,
    done: Vec<(Vec<u8>, u64)>,
    open: Vec<u8>,
    items: u64,
}

impl Parts {
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push((
                std::mem::take(&mut self.open),
                std::mem::take(&mut self.items),
            ));
        }
    }

    fn resource_items(&mut self, body: &[u8]) {
        let header = all_but(body, RESOURCE, SCOPE_ITEMS);
        let mut wrote = false;
        for scope in fields(body).flatten() {
            if let (SCOPE_ITEMS, Value::Bytes(scope)) = (scope.number, scope.value) {
                wrote |= self.scope_items(&header, scope);
            }
        }
        if !wrote {
            put_bytes_field(&mut self.open, RESOURCE_ITEMS, body);
        }
    }

    /// Writes the items of one scope in as many parts as needed; false where it has none.
    fn scope_items(&mut self, resource_header: &[u8], body: &[u8]) -> bool {
        let header = all_but(body, SCOPE, ITEMS);
        let (mut run, mut run_items) = (Vec::new(), 0);
        let mut any = false;
        for field in fields(body).flatten() {
            let (ITEMS, Value::Bytes(item)) = (field.number, field.value) else {
                continue;
            };
            let count = if self.signal == Signal::Metrics {
                data_points(item)
            } else {
                1
            };
            let size = self.open.len()
                + resource_header.len()
                + header.len()
                + run.len()
                + field.raw.len()
                + 16;
            let over_items = self.max_items != 0 && self.items + run_items + count > self.max_items;
            let over_bytes = self.max_bytes != 0 && size > self.max_bytes;
            if (over_items || over_bytes) && self.items + run_items > 0 {
                self.append(resource_header, &header, &run, run_items);
                self.close();
                run.clear();
                run_items = 0;
            }
            run.extend_from_slice(field.raw);
            run_items += count;
            any = true;
        }
        if any {
            self.append(resource_header, &header, &run, run_items);
        }
        any
    }

    fn append(&mut self, resource_header: &[u8], scope_header: &[u8], run: &[u8], items: u64) {
        if run.is_empty() {
            return;
        }
        put_message(&mut self.open, RESOURCE_ITEMS, |out| {
            out.extend_from_slice(resource_header);
            put_message(out, SCOPE_ITEMS, |out| {
                out.extend_from_slice(scope_header);
                out.extend_from_slice(run);
            });
        });
        self.items += items;
    }
}

/// The raw fields of `body` without the repeated `items` field; `first` (resource or scope) comes first.
fn all_but(body: &[u8], first: u32, items: u32) -> Vec<u8> {
    let mut header = Vec::new();
    put_bytes_field(&mut header, first, child(body, first));
    for field in fields(body).flatten() {
        if field.number != items && field.number != first {
            header.extend_from_slice(field.raw);
        }
    }
    header
}

/// A batch over bytes that are known to be a well-formed request: what our own code encoded.
#[pyfunction]
pub fn from_trusted(py: Python<'_>, signal: &str, data: Py<PyBytes>) -> PyResult<Batch> {
    let signal = parse_signal(signal)?;
    let items = count_items(signal, data.as_bytes(py));
    Ok(Batch::new(signal, data, items))
}

pub fn parse_signal(name: &str) -> PyResult<Signal> {
    Signal::parse(name).ok_or_else(|| {
        pyo3::exceptions::PyValueError::new_err(format!(
            "unknown signal {name:?}: traces, metrics or logs"
        ))
    })
}
