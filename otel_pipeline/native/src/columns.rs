//! Whole columns of a batch as Python lists, and batches with a column replaced or with rows left out.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};

use crate::batch::Batch;
use crate::otlp::{
    AnyValue, Context, RESOURCE_ATTRIBUTES, Signal, any, attributes, child, key_value, number,
    scope, span, text,
};
use crate::rewrite::Edit;
use crate::rows::{RewriteRows, Row, for_each_row, rewrite_rows};
use crate::wire::{fields, put_bytes_field, put_fixed64_field, put_message, put_varint_field};

/// Nesting of lists and dicts that is turned into Python objects; what lies deeper reads as None.
const MAX_DEPTH: usize = 32;

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Nearest,
    Item,
    Scope,
    Resource,
}

fn parse_level(level: &str) -> PyResult<Level> {
    match level {
        "nearest" => Ok(Level::Nearest),
        "item" => Ok(Level::Item),
        "scope" => Ok(Level::Scope),
        "resource" => Ok(Level::Resource),
        _ => Err(PyValueError::new_err(format!(
            "unknown level {level:?}: nearest, item, scope or resource"
        ))),
    }
}

fn find<'a>(message: &'a [u8], number: u32, key: &[u8]) -> Option<&'a [u8]> {
    attributes(message, number)
        .find(|(found, _)| *found == key)
        .map(|(_, value)| value)
}

fn lookup<'a>(context: &Context<'a>, row: Row<'a>, key: &[u8], level: Level) -> Option<&'a [u8]> {
    let item = || find(row.body, row.attributes, key);
    let scope = || find(context.scope, scope::ATTRIBUTES, key);
    let resource = || find(context.resource, RESOURCE_ATTRIBUTES, key);
    match level {
        Level::Item => item(),
        Level::Scope => scope(),
        Level::Resource => resource(),
        Level::Nearest => item().or_else(scope).or_else(resource),
    }
}

fn to_python<'py>(py: Python<'py>, body: &[u8], depth: usize) -> PyResult<Bound<'py, PyAny>> {
    Ok(match AnyValue::parse(body) {
        AnyValue::Empty => py.None().into_bound(py),
        AnyValue::Str(text) => PyString::new(py, text).into_any(),
        AnyValue::Bool(value) => PyBool::new(py, value).to_owned().into_any(),
        AnyValue::Int(value) => value.into_pyobject(py)?.into_any(),
        AnyValue::Double(value) => PyFloat::new(py, value).into_any(),
        AnyValue::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        AnyValue::Array(_) | AnyValue::Kvlist(_) if depth == 0 => py.None().into_bound(py),
        AnyValue::Array(array) => {
            let list = PyList::empty(py);
            for value in fields(array).flatten().filter(|field| field.number == 1) {
                list.append(to_python(py, value.value.bytes(), depth - 1)?)?;
            }
            list.into_any()
        }
        AnyValue::Kvlist(list) => {
            let dict = PyDict::new(py);
            for pair in fields(list).flatten().filter(|field| field.number == 1) {
                let (key, value) = key_value(pair.value.bytes());
                dict.set_item(text(key), to_python(py, value, depth - 1)?)?;
            }
            dict.into_any()
        }
    })
}

/// Writes the AnyValue body of a Python value into `out`.
fn from_python(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    if depth == 0 {
        return Err(PyValueError::new_err(format!(
            "attribute value nested more than {MAX_DEPTH} deep"
        )));
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        put_varint_field(out, any::BOOL, u64::from(flag.is_true()));
    } else if value.is_instance_of::<PyInt>() {
        put_varint_field(out, any::INT, value.extract::<i64>()? as u64);
    } else if value.is_instance_of::<PyFloat>() {
        put_fixed64_field(out, any::DOUBLE, value.extract::<f64>()?.to_bits());
    } else if let Ok(text) = value.cast::<PyString>() {
        put_bytes_field(out, any::STRING, text.to_str()?.as_bytes());
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        put_bytes_field(out, any::BYTES, bytes.as_bytes());
    } else if let Ok(list) = value.cast::<PyList>() {
        let mut body = Vec::new();
        for item in list.iter() {
            let mut element = Vec::new();
            from_python(&item, &mut element, depth - 1)?;
            put_bytes_field(&mut body, 1, &element);
        }
        put_bytes_field(out, any::ARRAY, &body);
    } else if let Ok(dict) = value.cast::<PyDict>() {
        let mut body = Vec::new();
        for (key, item) in dict.iter() {
            let mut element = Vec::new();
            from_python(&item, &mut element, depth - 1)?;
            let key = key.extract::<String>()?;
            put_message(&mut body, 1, |out| put_pair(out, key.as_bytes(), &element));
        }
        put_bytes_field(out, any::KVLIST, &body);
    } else if !value.is_none() {
        let kind = value.get_type().name()?.to_string();
        return Err(PyTypeError::new_err(format!(
            "an attribute value is str, bool, int, float, bytes, list, dict or None, not {kind}"
        )));
    }
    Ok(())
}

fn put_pair(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    put_bytes_field(out, 1, key);
    put_bytes_field(out, 2, value);
}

fn wrong_length(rows: u64, given: usize) -> PyErr {
    PyValueError::new_err(format!(
        "the batch has {rows} items, but {given} values were given"
    ))
}

#[pymethods]
impl Batch {
    #[pyo3(signature = (key, *, level="nearest"))]
    fn column<'py>(&self, py: Python<'py>, key: &str, level: &str) -> PyResult<Bound<'py, PyList>> {
        let level = parse_level(level)?;
        let mut found = Vec::with_capacity(self.item_count() as usize);
        for_each_row(self.signal, self.bytes(py), |context, row| {
            found.push(lookup(context, row, key.as_bytes(), level));
        });
        let values = found.into_iter().map(|value| match value {
            Some(body) => to_python(py, body, MAX_DEPTH),
            None => Ok(py.None().into_bound(py)),
        });
        let list = PyList::empty(py);
        for value in values {
            list.append(value?)?;
        }
        Ok(list)
    }

    fn field<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let read = field_reader(self.signal, name)?;
        let list = PyList::empty(py);
        let mut failed = None;
        for_each_row(self.signal, self.bytes(py), |_, row| {
            if let Err(error) = read(py, row).and_then(|value| list.append(value)) {
                failed = Some(error);
            }
        });
        failed.map_or(Ok(list), Err)
    }

    fn with_column(
        &self,
        py: Python<'_>,
        key: &str,
        values: &Bound<'_, PyList>,
    ) -> PyResult<Batch> {
        if values.len() as u64 != self.item_count() {
            return Err(wrong_length(self.item_count(), values.len()));
        }
        let mut bodies = Vec::with_capacity(values.len());
        for value in values.iter() {
            let mut body = Vec::new();
            from_python(&value, &mut body, MAX_DEPTH)?;
            bodies.push((!value.is_none()).then_some(body));
        }
        let data = self.bytes(py);
        let edited = py.detach(|| {
            rewrite_rows(
                self.signal,
                data,
                &mut SetColumn {
                    key: key.as_bytes(),
                    values: bodies.into_iter(),
                },
            )
        });
        Ok(self.replaced(py, edited, self.item_count()))
    }

    fn r#where(&self, py: Python<'_>, keep: Vec<bool>) -> PyResult<Batch> {
        if keep.len() as u64 != self.item_count() {
            return Err(wrong_length(self.item_count(), keep.len()));
        }
        let items = keep.iter().filter(|keep| **keep).count() as u64;
        let data = self.bytes(py);
        let edited = py.detach(|| rewrite_rows(self.signal, data, &mut Where(keep.into_iter())));
        Ok(self.replaced(py, edited, items))
    }
}

struct SetColumn<'k, V> {
    key: &'k [u8],
    values: V,
}

impl<V: Iterator<Item = Option<Vec<u8>>>> RewriteRows for SetColumn<'_, V> {
    fn row(&mut self, _: &Context<'_>, row: Row<'_>, out: &mut Vec<u8>) -> Edit {
        let value = self.values.next().flatten();
        let mut found = None;
        for field in fields(row.body).flatten() {
            if field.number == row.attributes {
                let (key, old) = key_value(field.value.bytes());
                if key == self.key {
                    found = Some(old);
                    continue;
                }
            }
            out.extend_from_slice(field.raw);
        }
        if found == value.as_deref() {
            return Edit::Keep;
        }
        if let Some(value) = value {
            put_message(out, row.attributes, |out| put_pair(out, self.key, &value));
        }
        Edit::Write
    }
}

struct Where<I>(I);

impl<I: Iterator<Item = bool>> RewriteRows for Where<I> {
    fn row(&mut self, _: &Context<'_>, _: Row<'_>, _: &mut Vec<u8>) -> Edit {
        match self.0.next() {
            Some(false) => Edit::Drop,
            _ => Edit::Keep,
        }
    }
}

type FieldReader = for<'py> fn(Python<'py>, Row<'_>) -> PyResult<Bound<'py, PyAny>>;

fn field_reader(signal: Signal, name: &str) -> PyResult<FieldReader> {
    fn string<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyString::new(py, text(body)).into_any())
    }
    fn bytes<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBytes::new(py, body).into_any())
    }
    fn int<'py>(py: Python<'py>, value: u64) -> PyResult<Bound<'py, PyAny>> {
        Ok(value.into_pyobject(py)?.into_any())
    }
    let reader: FieldReader = match (signal, name) {
        (Signal::Traces, "name") => |py, row| string(py, child(row.body, span::NAME)),
        (Signal::Traces, "kind") => |py, row| int(py, number(row.body, span::KIND)),
        (Signal::Traces, "trace_id") => |py, row| bytes(py, child(row.body, span::TRACE_ID)),
        (Signal::Traces, "span_id") => |py, row| bytes(py, child(row.body, span::SPAN_ID)),
        (Signal::Traces, "parent_span_id") => {
            |py, row| bytes(py, child(row.body, span::PARENT_SPAN_ID))
        }
        (Signal::Traces, "start_time_unix_nano") => {
            |py, row| int(py, number(row.body, span::START))
        }
        (Signal::Traces, "end_time_unix_nano") => |py, row| int(py, number(row.body, span::END)),
        (Signal::Traces, "duration_ns") => |py, row| {
            int(
                py,
                number(row.body, span::END).saturating_sub(number(row.body, span::START)),
            )
        },
        (Signal::Traces, "status_code") => {
            |py, row| int(py, number(child(row.body, span::STATUS), span::STATUS_CODE))
        }
        (Signal::Traces, "status_message") => {
            |py, row| string(py, child(child(row.body, span::STATUS), 2))
        }
        (Signal::Logs, "time_unix_nano") => |py, row| int(py, number(row.body, 1)),
        (Signal::Logs, "severity_number") => |py, row| int(py, number(row.body, 2)),
        (Signal::Logs, "severity_text") => |py, row| string(py, child(row.body, 3)),
        (Signal::Logs, "body") => |py, row| to_python(py, child(row.body, 5), MAX_DEPTH),
        (Signal::Logs, "trace_id") => |py, row| bytes(py, child(row.body, 9)),
        (Signal::Logs, "span_id") => |py, row| bytes(py, child(row.body, 10)),
        (Signal::Logs, "event_name") => |py, row| string(py, child(row.body, 12)),
        (Signal::Metrics, "name") => |py, row| string(py, child(row.item, 1)),
        (Signal::Metrics, "unit") => |py, row| string(py, child(row.item, 3)),
        (Signal::Metrics, "start_time_unix_nano") => |py, row| int(py, number(row.body, 2)),
        (Signal::Metrics, "time_unix_nano") => |py, row| int(py, number(row.body, 3)),
        _ => {
            return Err(PyValueError::new_err(format!(
                "{} have no field {name:?}",
                signal.name()
            )));
        }
    };
    Ok(reader)
}
