"""Every metric of the delivery catalogue: its name, its labels, and the telemetry that makes it.

Each file of golden/catalogue has telemetry that must be counted, what is then exposed, and telemetry that must give
nothing. It goes through the gateway's own components: enrichment, derivation, Prometheus' page.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline import semconv
from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Batch, from_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.testing import FakeTime, any_value, attributes, make_metrics, make_settings, make_span, make_traces

GOLDEN = Path(__file__).parents[1] / "golden" / "catalogue"
SCHEMA = Path(__file__).parents[1] / "fixtures" / "schemas" / "semconv.schema.v2.json"

CATALOGUE = {
    "req_agent_tasks_total": "counter status project_id priority",
    "req_agent_task_duration_seconds": "histogram project_id complexity_level outcome",
    "req_agent_llm_tokens_total": "counter project_id token_type model_name",
    "req_agent_interventions_total": "counter project_id intervention_type resolution_status",
    "prd_agent_documents_total": "counter version approval_status project_id",
    "prd_agent_review_duration_seconds": "histogram project_id review_rounds change_count",
    "prd_agent_review_rounds": "histogram project_id",
    "prd_agent_review_changes": "histogram project_id",
    "prd_agent_requirements_total": "counter project_id requirement_category",
    "prd_agent_revisions_total": "counter project_id revision_reason requester_role",
    "design_agent_design_duration_seconds": "histogram project_id stage design_type complexity_score",
    "design_agent_complexity_score": "histogram project_id stage",
    "design_agent_components_total": "counter project_id stage component_type layer",
    "design_agent_api_specs_total": "counter project_id stage api_count specification_format",
    "design_agent_api_count": "histogram project_id stage",
    "design_agent_technical_debt_items": "gauge project_id debt_category",
    "coding_agent_files_total": "counter language file_type project_id stage",
    "coding_agent_task_duration_seconds": "histogram project_id complexity lines_of_code",
    "coding_agent_lines_of_code_total": "counter project_id stage type",
    "coding_agent_llm_inference_latency_seconds": "histogram project_id model endpoint streaming",
    "coding_agent_llm_tokens_total": "counter project_id token_type model",
    "coding_agent_review_findings_total": "counter project_id review_outcome issue_severity",
    "coding_agent_edit_decisions_total": "counter project_id stage decision language",
    "coding_agent_active_tasks": "updowncounter project_id task_type",
    "test_agent_cases_total": "counter project_id stage test_type coverage_area outcome",
    "test_agent_code_coverage_percent": "gauge project_id stage coverage_type module",
    "test_agent_suite_duration_seconds": "histogram project_id stage test_suite parallel_workers",
    "test_agent_defects_total": "counter project_id stage severity detection_stage status",
    "test_agent_flaky_tests_total": "counter project_id stage test_category",
    "deploy_agent_deployments_total": "counter project_id environment deployment_strategy outcome",
    "deploy_agent_pipeline_duration_seconds": "histogram project_id stage pipeline_stage artifact_size_mb",
    "deploy_agent_artifact_size_bytes": "histogram project_id stage",
    "deploy_agent_pod_ready_seconds": "gauge project_id pod_name namespace deployment",
    "deploy_agent_rollbacks_total": "counter project_id rollback_reason time_to_rollback",
    "deploy_agent_time_to_rollback_seconds": "histogram project_id",
    "deploy_agent_resource_usage_ratio": "gauge project_id resource_type container_name",
    "ui_agent_checks_total": "counter project_id check_type outcome",
    "jenkins_builds_total": "counter project_id job_name result branch",
    "jenkins_agents_online": "gauge project_id node_label",
    "jenkins_stage_duration_seconds": "histogram project_id job_name stage outcome",
    "jenkins_queue_seconds": "histogram project_id job_name",
    "jenkins_queue_items": "gauge project_id state",
    "jenkins_executors_busy": "gauge project_id node_name executor_type",
    "docker_container_running": "gauge project_id container_name image host",
    "docker_container_memory_usage_bytes": "gauge project_id container_name memory_limit",
    "docker_container_memory_limit_bytes": "gauge project_id container_name",
    "docker_container_network_bytes_total": "counter project_id container_name interface direction",
    "docker_container_health_status": "gauge project_id container_name check_name",
    "kube_pod_status_phase": "gauge project_id pod namespace phase",
    "kube_deployment_status_replicas_available": "gauge project_id deployment namespace",
    "kube_node_status_condition": "gauge project_id node condition status",
    "kube_pod_container_status_restarts_total": "counter project_id pod namespace container reason",
    "kube_resourcequota": "gauge project_id namespace resourcequota resource type",
    "service_requests_total": "counter project_id service endpoint method",
    "service_errors_total": "counter project_id service error_type",
    "service_request_duration_seconds": "histogram project_id service endpoint",
    "sdlc_stage_duration_seconds": "histogram project_id stage agent model outcome",
    "sdlc_stage_runs_total": "counter project_id stage agent outcome",
    "sdlc_stage_errors_total": "counter project_id stage agent model error_type",
    "sdlc_operation_duration_seconds": "histogram project_id stage agent operation model outcome",
    "sdlc_tool_calls_total": "counter project_id stage agent tool outcome",
    "sdlc_llm_tokens_total": "counter project_id stage agent model token_type",
    "sdlc_llm_cost_usd_total": "counter project_id stage agent model",
    "sdlc_stage_order": "gauge stage",
    "sdlc_stage_wait_seconds": "histogram project_id stage",
    "sdlc_requirement_lead_time_seconds": "histogram project_id class outcome",
    "sdlc_requirement_cost_usd": "histogram project_id class outcome",
    "sdlc_requirement_oldest_age_seconds": "gauge project_id stage",
    "sdlc_requirement_active_time_ratio": "histogram project_id",
    "sdlc_requirement_rework_total": "counter project_id stage",
    "sdlc_requirements_in_stage": "gauge project_id stage",
    "sdlc_deployments_total": "counter project_id environment outcome",
    "sdlc_change_lead_time_seconds": "histogram project_id",
    "sdlc_change_failures_total": "counter project_id environment",
    "sdlc_recovery_time_seconds": "histogram project_id",
    "sdlc_changes_merged_total": "counter project_id",
    "sdlc_deployment_rework_total": "counter project_id",
}
"""Every metric by its name in Prometheus: instrument, then labels."""

REGISTRY = semconv.load()
BY_NAME = {metric.prometheus_name: metric for metric in REGISTRY.metrics.values()}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_registry_has_the_metric(name: str) -> None:
    """Under exactly this name, with exactly these labels."""
    metric = BY_NAME[name]
    instrument, *labels = CATALOGUE[name].split()
    assert metric.instrument == instrument
    assert sorted(label.name for label in metric.labels) == sorted(labels)


def test_there_is_no_other_metric() -> None:
    """The catalogue above is the whole of what the shipped files derive."""
    assert BY_NAME.keys() == CATALOGUE.keys()


def test_every_metric_is_proved() -> None:
    """By a golden file; and no file is left over."""
    assert {path.stem for path in GOLDEN.iterdir()} == CATALOGUE.keys()


@pytest.mark.parametrize("path", sorted(semconv.shipped_directory().rglob("*.yaml")), ids=lambda path: path.name)
def test_files_are_in_opentelemetrys_format(path: Path) -> None:
    """Other tools that know `definition/2` can read them."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(json.loads(json.dumps(yaml.safe_load(path.read_text()), default=str)), schema)


@pytest.mark.parametrize("name", CATALOGUE)
def test_golden(name: str, tmp_path: Path) -> None:
    """What must be counted is exposed to the letter, and what must not be gives no sample."""
    case = yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())
    exposed = Gateway(tmp_path / "counted").exposed(name, case["counted"])
    expected = samples(case["exposed"])
    assert {key: value for key, value in exposed.items() if key in expected or "_bucket" not in key[0]} == expected
    if "silent" in case:
        assert Gateway(tmp_path / "silent").exposed(name, case["silent"]) == {}


class Gateway:
    """Enrichment, derivation and page, with the clock set by hand."""

    def __init__(self, folder: Path) -> None:
        self.time = FakeTime()
        self.began_ns = 0
        """When senders began to count: after the gateway's start, so that all they tell is new."""
        self.enrichment = Semconv(SemconvConfig(), make_settings("semconv", time=self.time))
        settings = make_settings("stage_metrics", time=self.time, data_dir=folder)
        self.connector = StageMetrics(StageMetricsConfig(), settings)
        self.store = SeriesStore(epoch_ns=self.time.unix_ns, without_scope_info=True)

    def exposed(self, name: str, telemetry: list[dict[str, Any]]) -> Samples:
        """All samples of the metric once everything has arrived and waited long enough."""
        self.time.advance(1)
        self.began_ns = self.time.unix_ns
        self.time.advance(1)
        for number, told in enumerate(telemetry, start=1):
            for batch in self.batches(number, told):
                self.send(batch)
        for _ in range(2):
            self.time.advance(60)
            self.keep(self.connector.flush(self.time.unix_ns))
        page = self.store.render("text", None, self.time.unix_ns).decode()
        family = re.compile(rf"{name}(_bucket|_count|_sum)?")
        return {key: value for key, value in samples(page).items() if family.fullmatch(key[0])}

    def send(self, batch: Batch) -> None:
        enriched = self.enrichment.process(batch)
        self.keep(self.connector.process(enriched) if enriched else None)

    def keep(self, batch: Batch | None) -> None:
        if batch is not None:
            self.store.ingest(batch, self.time.unix_ns)

    # --- from a golden file to OTLP

    def batches(self, number: int, told: Mapping[str, Any]) -> Iterator[Batch]:
        around = {"resource": told.get("resource", {}), "scope": told.get("scope", "test")}
        for trace, root in enumerate(told.get("spans", ()), start=1):
            yield make_traces(*spans(root, 100 * number + trace), **around)
        if "logs" in told:
            yield make_logs(told["logs"], self.time.unix_ns, **around)
        if "metrics" in told:
            yield make_metrics(*map(self.metric, told["metrics"]), **around)

    def metric(self, told: Mapping[str, Any]) -> Metric:
        """One data point; its kind is the key that its value stands under."""
        made = Metric(name=told["name"], unit=told.get("unit", ""))
        kind = next(kind for kind in ("gauge", "counter", "delta", "updown") if kind in told)
        if kind == "gauge":
            point = made.gauge.data_points.add()
        else:
            made.sum.is_monotonic = kind != "updown"
            made.sum.aggregation_temporality = 1 if kind == "delta" else 2  # type: ignore[assignment]
            point = made.sum.data_points.add(start_time_unix_nano=self.began_ns)
        point.time_unix_nano = self.time.unix_ns + told.get("at", 0) * 1_000_000_000
        point.as_double = told[kind]
        point.attributes.extend(attributes(told.get("attributes", {})))
        return made


KINDS = {"server": Span.SPAN_KIND_SERVER, "client": Span.SPAN_KIND_CLIENT, "internal": Span.SPAN_KIND_INTERNAL}


def spans(root: Mapping[str, Any], trace: int) -> Iterator[Span]:
    """The spans of a trace, children first, as they end."""
    number = 0

    def walk(told: Mapping[str, Any], parent: int) -> Iterator[Span]:
        nonlocal number
        number = own = number + 1
        for child in told.get("children", ()):
            yield from walk(child, own)
        kind = KINDS[told.get("kind", "internal")]
        times = {"start": told.get("start", 0.0), "seconds": told.get("seconds", 1.0)}
        span = make_span(
            told["name"], trace=trace, span=own, parent=parent, error=told.get("error"), kind=kind, **times
        )
        span.attributes.extend(attributes(told.get("attributes", {})))
        yield span

    yield from walk(root, 0)


def make_logs(records: list[dict[str, Any]], time_ns: int, *, resource: Mapping[str, Any], scope: str) -> Batch:
    """A batch of log records that name their event in an attribute, as most senders do."""
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    resource_logs.resource.attributes.extend(attributes(resource))
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = scope
    for told in records:
        named = attributes({"event.name": told["event"], **told.get("attributes", {})})
        scope_logs.log_records.append(
            LogRecord(time_unix_nano=time_ns, body=any_value(told.get("body")), attributes=named)
        )
    return from_proto(request)


_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(page: str) -> Samples:
    """The samples of a page, by name and labels."""
    found: Samples = {}
    for line in page.splitlines():
        if match := _SAMPLE.fullmatch(line):
            found[match[1], frozenset(_LABEL.findall(match[2] or ""))] = float(match[3])
    return found
