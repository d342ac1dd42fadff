//! Bounds of what a sender may put into one item.

use pyo3::prelude::*;

use crate::schema::{Message, Role};

/// Other protobuf readers stop at 100 nested messages. A map in a map costs three, and an exemplar's attribute begins at
/// the eighth: deeper values than this are never kept, so that whoever gets the batch next can read it.
const MAX_DEPTH: usize = 32;

#[pyclass(frozen, module = "otel_pipeline._native")]
#[derive(Debug, Clone)]
pub struct Limits {
    pub max_depth: usize,
    pub max_attributes: usize,
    pub max_key_bytes: usize,
    pub max_value_bytes: usize,
}

impl Limits {
    /// True where `message` is a list or map with `depth - 1` others around it, and its values would lie too deep.
    /// A plain value has depth 1, what stands in a list 2, and so on.
    #[inline]
    pub fn is_too_deep(&self, message: &Message, depth: usize) -> bool {
        depth >= self.max_depth && message.role == Role::Collection
    }
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (*, max_depth=32, max_attributes=128, max_key_bytes=256, max_value_bytes=65536))]
    pub fn new(
        max_depth: usize,
        max_attributes: usize,
        max_key_bytes: usize,
        max_value_bytes: usize,
    ) -> Self {
        Self {
            max_depth: max_depth.clamp(1, MAX_DEPTH),
            max_attributes,
            max_key_bytes,
            max_value_bytes,
        }
    }
}
