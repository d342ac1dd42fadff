//! The native half of the gateway: loops over items, attributes and series. Everything else is Python.

pub mod aggregate;
pub mod batch;
pub mod check;
pub mod columns;
pub mod condition;
pub mod decode;
pub mod edit;
pub mod enrich;
pub mod event_spans;
pub mod findings;
pub mod journey_links;
pub mod journeys;
pub mod json_read;
pub mod json_text;
pub mod json_write;
pub mod limits;
pub mod live_check;
pub mod matcher;
pub mod otlp;
pub mod prometheus;
pub mod repair;
pub mod rewrite;
pub mod rows;
pub mod schema;
pub mod scrape;
pub mod senders;
pub mod wire;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<aggregate::SpanAggregator>()?;
    module.add_class::<batch::Batch>()?;
    module.add_function(wrap_pyfunction!(batch::merge, module)?)?;
    module.add_function(wrap_pyfunction!(batch::split, module)?)?;
    module.add_function(wrap_pyfunction!(batch::from_trusted, module)?)?;
    module.add_class::<limits::Limits>()?;
    module.add_class::<decode::Findings>()?;
    module.add_function(wrap_pyfunction!(decode::decode, module)?)?;
    module.add_function(wrap_pyfunction!(decode::to_json, module)?)?;
    module.add_class::<edit::AttributePlan>()?;
    module.add_function(wrap_pyfunction!(edit::edit_attributes, module)?)?;
    module.add_class::<condition::ConditionPlan>()?;
    module.add_function(wrap_pyfunction!(condition::drop_matching, module)?)?;
    module.add_class::<enrich::SemconvPlan>()?;
    module.add_class::<enrich::EnrichFindings>()?;
    module.add_function(wrap_pyfunction!(enrich::enrich, module)?)?;
    module.add_function(wrap_pyfunction!(enrich::regex_problem, module)?)?;
    module.add_class::<event_spans::EventSpans>()?;
    module.add_function(wrap_pyfunction!(journey_links::ids_for_python, module)?)?;
    module.add_function(wrap_pyfunction!(journey_links::link_journeys, module)?)?;
    module.add_class::<journeys::JourneyPlan>()?;
    module.add_function(wrap_pyfunction!(journeys::unpack_chunk, module)?)?;
    module.add_class::<live_check::LiveCheck>()?;
    module.add_class::<prometheus::Ingested>()?;
    module.add_class::<prometheus::NameConflict>()?;
    module.add_class::<prometheus::Restored>()?;
    module.add_class::<prometheus::SeriesStore>()?;
    module.add_function(wrap_pyfunction!(prometheus::prometheus_name, module)?)?;
    module.add_class::<prometheus::WriteRequest>()?;
    module.add_function(wrap_pyfunction!(prometheus::write_request, module)?)?;
    module.add_class::<senders::SenderTable>()?;
    module.add_class::<senders::Sender>()?;
    module.add_function(wrap_pyfunction!(senders::first_service, module)?)?;
    module.add_class::<scrape::RelabelPlan>()?;
    module.add_class::<scrape::ScrapeTarget>()?;
    module.add_class::<scrape::Scraped>()?;
    Ok(())
}
