//! The Prometheus bridge: a store of series that OTLP metrics are ingested into and pages are rendered from.

mod checkpoint;
mod choice;
mod codec;
mod collect;
mod collect_points;
mod conflicts;
mod declared;
mod escape;
mod exemplars;
pub mod exponential;
mod family;
mod identity;
mod ingest;
mod labels;
mod names;
pub mod number;
mod page;
mod points;
mod protobuf;
pub mod remote_write;
mod restore;
mod room;
mod series;
mod sketches;
mod store;
mod stream;
mod text;
pub mod value;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::Batch;
use crate::otlp::Signal;
use choice::Choice;
use collect::{Collect, collect};
use names::{Names, Strategy};
use page::Format;
use remote_write::Version;
use room::Collects;
use series::Kind;
use sha2::{Digest, Sha256};
use store::{Options, SCRAPERS, Store};

/// What a line of a page may take, before any page was made.
const LINE_BYTES: usize = 256;

/// What became of the data points of one batch; see `_native.pyi`.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct Ingested {
    pub kept: u64,
    pub dropped: BTreeMap<&'static str, u64>,
    pub notes: BTreeMap<&'static str, u64>,
}

/// A metric that does not agree with what has its name already; see `_native.pyi`.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct NameConflict {
    pub metric: String,
    pub reason: &'static str,
    pub held: String,
    pub told: String,
    pub job: String,
    pub scope: String,
    pub count: u64,
    pub last_seen_ns: u64,
}

/// What became of a checkpoint; see `_native.pyi`.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct Restored {
    pub series: usize,
    pub streams: usize,
    pub left_out: usize,
    pub written_ns: u64,
    pub problem: Option<&'static str>,
    pub scrapers: Vec<(usize, String)>,
}

/// See `_native.pyi`.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct SeriesStore {
    store: Store,
    /// Length of the last page, so that the next one is not moved while it grows.
    last_page_bytes: AtomicUsize,
}

#[pymethods]
impl SeriesStore {
    #[new]
    #[pyo3(signature = (
        *,
        epoch_ns,
        namespace="",
        const_labels=Vec::new(),
        send_timestamps=false,
        created_timestamps=true,
        without_scope_info=false,
        translation_strategy="UnderscoreEscapingWithSuffixes",
        drop_labels=Vec::new(),
        given_labels=Vec::new(),
        resource_labels=false,
        exclude_service_attributes=false,
        metric_expiration_ns=86_400_000_000_000,
        max_series_per_metric=2000,
        max_series=100_000,
        max_streams=200_000,
        zero_first=true,
        kept=false,
        collected="",
    ))]
    #[allow(clippy::too_many_arguments)] // keyword arguments in Python
    fn new(
        epoch_ns: u64,
        namespace: &str,
        const_labels: Vec<(String, String)>,
        send_timestamps: bool,
        created_timestamps: bool,
        without_scope_info: bool,
        translation_strategy: &str,
        drop_labels: Vec<String>,
        given_labels: Vec<(String, String)>,
        resource_labels: bool,
        exclude_service_attributes: bool,
        metric_expiration_ns: u64,
        max_series_per_metric: usize,
        max_series: usize,
        max_streams: usize,
        zero_first: bool,
        kept: bool,
        collected: &str,
    ) -> PyResult<Self> {
        let collects = match collected {
            "" => Collects::Nothing,
            "cumulative" => Collects::Cumulative,
            "delta" => Collects::Delta,
            _ => {
                let problem = "collected must be '', 'cumulative' or 'delta'";
                return Err(PyValueError::new_err(problem));
            }
        };
        let strategy = Strategy::parse(translation_strategy)
            .ok_or_else(|| PyValueError::new_err("no such translation_strategy"))?;
        let shape = format!(
            "{:?}",
            (
                (namespace, &const_labels, without_scope_info),
                (translation_strategy, &drop_labels, &given_labels),
                (resource_labels, exclude_service_attributes),
            )
        );
        let store = Store::new(Options {
            namespace: namespace.to_owned(),
            const_labels,
            send_timestamps,
            created_timestamps,
            without_scope_info,
            strategy,
            choice: Choice::new(
                drop_labels,
                given_labels,
                resource_labels,
                exclude_service_attributes,
            ),
            metric_expiration_ns,
            max_series_per_metric,
            max_series,
            max_streams,
            zero_first,
            epoch_ns,
            kept,
            collects,
            shape: Sha256::digest(shape).into(),
        });
        Ok(Self {
            store,
            last_page_bytes: AtomicUsize::new(0),
        })
    }

    fn ingest(&self, py: Python<'_>, batch: &Bound<'_, Batch>, now_ns: u64) -> PyResult<Ingested> {
        let batch = batch.get();
        if batch.signal != Signal::Metrics {
            return Err(PyValueError::new_err("ingest needs a batch of metrics"));
        }
        let data = batch.bytes(py);
        let report = py.detach(|| ingest::ingest(&self.store, data, now_ns));
        Ok(Ingested {
            kept: report.kept,
            dropped: report.dropped,
            notes: report.notes,
        })
    }

    #[pyo3(signature = (format, scraper, now_ns, own=&b""[..], utf8=false))]
    fn render<'py>(
        &self,
        py: Python<'py>,
        format: &str,
        scraper: Option<usize>,
        now_ns: u64,
        own: &[u8],
        utf8: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let format = Format::parse(format).ok_or_else(|| {
            PyValueError::new_err("format must be 'text', 'openmetrics' or 'protobuf'")
        })?;
        if scraper.is_some_and(|slot| slot >= SCRAPERS) {
            return Err(PyValueError::new_err("scraper must be 0 to 63"));
        }
        let page = py.detach(|| {
            self.store.reserve(page::page_names(own));
            self.store.expire(now_ns);
            let expected = match self.last_page_bytes.load(Ordering::Relaxed) {
                0 => self.store.room.lines() * LINE_BYTES,
                last => last + last / 16,
            };
            let page = page::render(&self.store, format, scraper, own, utf8, expected);
            self.last_page_bytes.store(page.len(), Ordering::Relaxed);
            page
        });
        Ok(PyBytes::new(py, &page))
    }

    #[pyo3(signature = (slot, name=""))]
    fn register_scraper(&self, slot: usize, name: &str) -> PyResult<()> {
        if slot >= SCRAPERS {
            return Err(PyValueError::new_err("slot must be 0 to 63"));
        }
        self.store.register_scraper(slot, name);
        Ok(())
    }

    fn expire(&self, py: Python<'_>, now_ns: u64) -> usize {
        py.detach(|| self.store.expire(now_ns))
    }

    #[pyo3(signature = (now_ns, *, repeat_ns, zero_ns, max_samples, targets=true))]
    fn collect(
        &self,
        py: Python<'_>,
        now_ns: u64,
        repeat_ns: u64,
        zero_ns: u64,
        max_samples: usize,
        targets: bool,
    ) -> Vec<Batch> {
        let what = Collect {
            now_ns,
            repeat_ns,
            zero_ns,
            max_samples,
            targets,
        };
        let requests = py.detach(|| {
            if self.store.room.collected == Collects::Delta {
                // What came before it expired is still to be told.
                let requests = collect(&self.store, &what);
                self.store.expire(now_ns);
                return requests;
            }
            self.store.expire(now_ns);
            collect(&self.store, &what)
        });
        let batch = |(data, items)| Batch::from_vec(Signal::Metrics, data, items);
        requests.into_iter().map(batch).collect()
    }

    #[pyo3(signature = (now_ns, *, everything=false))]
    fn take_changes<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        everything: bool,
    ) -> Bound<'py, PyBytes> {
        let changes = py.detach(|| checkpoint::take_changes(&self.store, everything, now_ns));
        PyBytes::new(py, &changes)
    }

    fn restore(&self, py: Python<'_>, checkpoint: &[u8], now_ns: u64) -> Restored {
        let restored = py.detach(|| restore::restore(&self.store, checkpoint, now_ns));
        Restored {
            series: restored.series,
            streams: restored.streams,
            left_out: restored.left_out,
            written_ns: restored.written_ns,
            problem: restored.problem,
            scrapers: restored.scrapers,
        }
    }

    fn conflicts(&self, py: Python<'_>) -> Vec<NameConflict> {
        let all = py.detach(|| self.store.conflicts.all());
        all.into_iter()
            .map(|(conflict, seen)| NameConflict {
                metric: conflict.metric,
                reason: conflict.reason,
                held: seen.held,
                told: conflict.told,
                job: conflict.job,
                scope: conflict.scope,
                count: seen.count,
                last_seen_ns: seen.last_ns,
            })
            .collect()
    }

    fn stats(&self, py: Python<'_>) -> BTreeMap<&'static str, usize> {
        let stats = py.detach(|| self.store.stats());
        BTreeMap::from([
            ("families", stats.families),
            ("series", stats.series),
            ("lines", stats.lines),
            ("overflow_streams", stats.overflow_streams),
            ("streams", stats.streams),
            ("targets", stats.targets),
        ])
    }
}

/// The name under which a metric is scraped; empty where no legal character is left.
#[pyfunction]
pub fn prometheus_name(name: &str, unit: &str, instrument: &str) -> String {
    let (kind, suffix) = match instrument {
        "counter" => (Kind::Counter, "_total"),
        "histogram" => (Kind::Histogram, ""),
        _ => (Kind::Gauge, ""),
    };
    let family = Names::new("", Strategy::DEFAULT).metric(name, unit, kind);
    family.map_or_else(String::new, |family| family.name + suffix)
}

/// See `_native.pyi`.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct WriteRequest {
    pub body: Py<PyBytes>,
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
}

/// The body of a remote-write request; None where the message would be over `max_bytes`.
#[pyfunction]
#[pyo3(signature = (batch, version, *, native_histograms, metadata, max_bytes))]
pub fn write_request(
    py: Python<'_>,
    batch: &Bound<'_, Batch>,
    version: u8,
    native_histograms: bool,
    metadata: bool,
    max_bytes: usize,
) -> PyResult<Option<WriteRequest>> {
    let batch = batch.get();
    let options = remote_write::Options {
        version: match version {
            1 => Version::V1,
            2 => Version::V2,
            _ => return Err(PyValueError::new_err("version must be 1 or 2")),
        },
        native_histograms,
        metadata,
        max_bytes,
    };
    if batch.signal != Signal::Metrics {
        return Err(PyValueError::new_err(
            "write_request needs a batch of metrics",
        ));
    }
    let data = batch.bytes(py);
    let made = py.detach(|| {
        let (message, tally) = remote_write::message(data, &options)?;
        Some((remote_write::compressed(&message), tally))
    });
    Ok(made.map(|(body, tally)| WriteRequest {
        body: PyBytes::new(py, &body).unbind(),
        samples: tally.samples,
        histograms: tally.histograms,
        exemplars: tally.exemplars,
    }))
}
