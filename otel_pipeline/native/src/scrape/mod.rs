//! The receiver `prometheus`: from the page of a target to a checked batch of metrics.

mod families;
mod histograms;
mod known;
mod page;
mod relabel;
mod role;
mod sample;
mod text;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::Batch;
use crate::otlp::Signal;
use known::Known;
use page::Page;
pub use relabel::RelabelPlan;
use sample::Labels;

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4, or 1.0.0 with its quoted names.
    Text,
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily`.
    Protobuf,
}

/// What holds for every sample of a target.
pub struct Rules {
    job: String,
    instance: String,
    /// Of the target, without job and instance.
    labels: Vec<(String, String)>,
    /// Labels of whatever has no label of that name.
    external: Vec<(String, String)>,
    /// Attributes of the resource, beside job and instance.
    resource: Vec<(String, String)>,
    relabel: Py<RelabelPlan>,
    honor_labels: bool,
    honor_timestamps: bool,
    /// 0 for none.
    sample_limit: u64,
}

impl Rules {
    /// Adds the external labels that are not there yet.
    fn add_external<'a>(&'a self, labels: &mut Labels<'a>) {
        for (name, value) in &self.external {
            if !labels.iter().any(|(known, _)| known == name) {
                labels.push((Cow::Borrowed(name), Cow::Borrowed(value)));
            }
        }
    }

    /// Adds the labels of the target. Where the page has one too, the target's wins and the other becomes `exported_`,
    /// or the page's wins, as configured.
    fn add_target<'a>(&'a self, labels: &mut Labels<'a>) {
        let own = [("job", &self.job), ("instance", &self.instance)];
        let more = self
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        for (name, value) in own.into_iter().chain(more) {
            match labels.iter().position(|(known, _)| known == name) {
                Some(at) if self.honor_labels => {
                    if labels.get(at).is_some_and(|(_, value)| value.is_empty()) {
                        labels.swap_remove(at);
                    }
                    continue;
                }
                Some(at) => {
                    let (_, theirs) = labels.swap_remove(at);
                    let mut renamed = format!("exported_{name}");
                    while labels.iter().any(|(known, _)| *known == renamed) {
                        renamed.insert_str(0, "exported_");
                    }
                    labels.push((Cow::Owned(renamed), theirs));
                }
                None => {}
            }
            labels.push((Cow::Borrowed(name), Cow::Borrowed(value)));
        }
    }
}

/// What became of one scrape; see `_native.pyi`.
#[pyclass(frozen, get_all, module = "otel_pipeline._native")]
pub struct Scraped {
    pub batch: Py<Batch>,
    pub problem: String,
    pub scraped: u64,
    pub refused: BTreeMap<&'static str, u64>,
}

/// One target; see `_native.pyi`.
#[pyclass(frozen, module = "otel_pipeline._native")]
pub struct ScrapeTarget {
    rules: Rules,
    known: Mutex<Known>,
}

#[pymethods]
impl ScrapeTarget {
    #[new]
    #[pyo3(signature = (*, job, instance, labels, external_labels = Vec::new(), resource, relabel, honor_labels, honor_timestamps, sample_limit))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        job: String,
        instance: String,
        labels: Vec<(String, String)>,
        external_labels: Vec<(String, String)>,
        resource: Vec<(String, String)>,
        relabel: Py<RelabelPlan>,
        honor_labels: bool,
        honor_timestamps: bool,
        sample_limit: u64,
    ) -> Self {
        let rules = Rules {
            job,
            instance,
            labels,
            external: external_labels,
            resource,
            relabel,
            honor_labels,
            honor_timestamps,
            sample_limit,
        };
        Self {
            rules,
            known: Mutex::default(),
        }
    }

    /// The batch of one scrape, with what the receiver tells of it itself.
    fn scrape(
        &self,
        py: Python<'_>,
        page: Option<Bound<'_, PyBytes>>,
        format: &str,
        now_ns: u64,
        duration_seconds: f64,
    ) -> PyResult<Scraped> {
        let format = match format {
            "text" => Format::Text,
            "openmetrics" => Format::OpenMetrics,
            "protobuf" => Format::Protobuf,
            _ => return Err(PyValueError::new_err("unknown format")),
        };
        let bytes = page.as_ref().map(|page| page.as_bytes());
        let read = || self.read(bytes, format, now_ns, duration_seconds);
        let (body, items, told) = py.detach(read);
        let batch = Batch::from_vec(Signal::Metrics, body, items);
        Ok(Scraped {
            batch: Py::new(py, batch)?,
            problem: told.problem,
            scraped: told.scraped,
            refused: told.refused,
        })
    }
}

/// What a scrape found, beside its batch.
struct Told {
    problem: String,
    scraped: u64,
    refused: sample::Refused,
}

impl ScrapeTarget {
    fn read(
        &self,
        bytes: Option<&[u8]>,
        format: Format,
        now_ns: u64,
        duration_seconds: f64,
    ) -> (Vec<u8>, u64, Told) {
        let mut page = Page::new(&self.rules, now_ns);
        let read = bytes.map(|bytes| page.read(bytes, format));
        let up = matches!(read, Some(Ok(())));
        if !up {
            page.groups.clear();
        }
        let (scraped, kept) = (page.scraped, page.kept);
        for (name, help, value) in [
            (
                "up",
                "1 if the last scrape succeeded, else 0.",
                f64::from(up),
            ),
            (
                "scrape_duration_seconds",
                "How long the scrape took.",
                duration_seconds,
            ),
            (
                "scrape_samples_scraped",
                "Samples on the page.",
                scraped as f64,
            ),
            (
                "scrape_samples_post_metric_relabeling",
                "Samples on the page that relabelling kept.",
                kept as f64,
            ),
        ] {
            page.report(name, help, value);
        }
        let mut refused = std::mem::take(&mut page.refused);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (body, items) = write::request(&page, &self.rules, &mut known, &mut refused);
        if up {
            known.scraped(now_ns);
        }
        let told = Told {
            problem: read.and_then(Result::err).unwrap_or_default(),
            scraped,
            refused,
        };
        (body, items, told)
    }
}
