"""What to scrape and how, under Prometheus' keys; and the targets that this gives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlencode, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from otel_pipeline.helpers.peer_endpoint import HttpUrl, is_link_local
from otel_pipeline.helpers.tls import ClientTls
from otel_pipeline.options import Duration, Options, Secret
from otel_pipeline.prometheus import RelabelPlan

__all__ = ["PROTOCOLS", "RelabelRule", "ScrapeConfig", "ScrapeConfigs", "ScrapeProtocol", "Target", "relabel_plan"]

ScrapeProtocol = Literal[
    "PrometheusProto", "PrometheusText0.0.4", "PrometheusText1.0.0", "OpenMetricsText0.0.1", "OpenMetricsText1.0.0"
]
PROTOCOLS: dict[ScrapeProtocol, tuple[str, str]] = {
    "PrometheusProto": (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8",
        "protobuf",
    ),
    "PrometheusText0.0.4": ("text/plain;version=0.0.4", "text"),
    "PrometheusText1.0.0": ("text/plain;version=1.0.0;escaping=allow-utf-8", "text"),
    "OpenMetricsText0.0.1": ("application/openmetrics-text;version=0.0.1", "openmetrics"),
    "OpenMetricsText1.0.0": ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8", "openmetrics"),
}
"""Media type and format of each, by Prometheus' names."""

_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d+)(B|KB|MB|GB|KiB|MiB|GiB)")


def _bytes(value: Any) -> Any:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) * _UNITS[found[2]] if found else value


Size = Annotated[int, BeforeValidator(_bytes), Field(gt=0, le=1 << 30)]
"""Bytes, or a text such as `10MB`."""


class StaticConfig(Options):
    """Targets that are written down."""

    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    """Host and port of each, as `jenkins.example:8080`."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Added to every sample of these targets."""


class BasicAuth(Options):
    """HTTP basic authentication."""

    username: str
    """The user's name."""
    password: Secret | None = None
    """The password."""
    password_file: Path | None = None
    """A file with the password, read at every scrape."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("needs one of password and password_file")
        return self


class Authorization(Options):
    """The header `authorization` with a token."""

    type: Annotated[str, Field(pattern="^[!-~]+$")] = "Bearer"
    """The scheme, which stands before the credentials; for Basic there is `basic_auth`."""
    credentials: Secret | None = None
    """The token."""
    credentials_file: Path | None = None
    """A file with the token, read at every scrape."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.type.lower() == "basic":
            raise ValueError("type cannot be Basic; use basic_auth")
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("needs one of credentials and credentials_file")
        return self


class TlsConfig(Options):
    """TLS of https targets."""

    ca_file: Path | None = None
    """PEM file of the authorities that may have signed the target's certificate; without it, those of the system."""
    cert_file: Path | None = None
    """PEM file of our own certificate, for targets that ask for one."""
    key_file: Path | None = None
    """PEM file of the key of `cert_file`."""
    server_name: str = ""
    """The name that the target's certificate must have, where it is not the host of the target."""
    insecure_skip_verify: bool = False
    """Do not check the target's certificate: whoever sits between can read and change all."""

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        self.client()
        return self

    def client(self) -> ClientTls:
        """The same, as other clients of the gateway have it."""
        return ClientTls(
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
            insecure_skip_verify=self.insecure_skip_verify,
        )


class RelabelRule(Options):
    """One step of relabelling."""

    action: Literal["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep"] = "replace"
    """What to do where `regex` matches."""
    source_labels: tuple[str, ...] = ()
    """Labels whose values are joined and matched; `__name__` is the metric's name."""
    separator: str = ";"
    """Stands between the joined values."""
    regex: str = "(.*)"
    """Must match the whole text."""
    target_label: str = ""
    """The label that `replace` sets."""
    replacement: str = "$1"
    """Its value; `$1` is the first group of `regex`. For `labelmap`, the name of the new label."""

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        if self.action == "replace" and not self.target_label:
            raise ValueError("replace needs target_label")
        if self.action in ("keep", "drop") and not self.source_labels:
            raise ValueError(f"{self.action} needs source_labels")
        relabel_plan([self])
        return self


def relabel_plan(rules: Sequence[RelabelRule]) -> RelabelPlan:
    """The rules, ready to be applied. Raises ValueError for a regex that cannot be compiled."""
    return RelabelPlan(
        [
            (rule.action, rule.source_labels, rule.separator, rule.regex, rule.target_label, rule.replacement)
            for rule in rules
        ]
    )


@dataclass(frozen=True, slots=True)
class Target:
    """One page to scrape."""

    url: str
    job: str
    instance: str
    labels: tuple[tuple[str, str], ...]
    """Those beside job and instance."""


def _check_protocols(protocols: tuple[ScrapeProtocol, ...]) -> tuple[ScrapeProtocol, ...]:
    if len(set(protocols)) < len(protocols):
        raise ValueError("names a protocol twice")
    return protocols


ScrapeProtocols = Annotated[tuple[ScrapeProtocol, ...], Field(min_length=1), AfterValidator(_check_protocols)]
_SCRAPE_PROTOCOLS: tuple[ScrapeProtocol, ...] = ("OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText0.0.4")


class GlobalConfig(Options):
    """What holds for every job that does not say otherwise."""

    scrape_interval: Duration = Field(60.0, ge=0.1)
    """How often."""
    scrape_timeout: Duration = Field(10.0, gt=0)
    """How long one scrape may take. For jobs of a shorter interval it is that interval."""
    scrape_protocols: ScrapeProtocols = _SCRAPE_PROTOCOLS
    """The formats to ask for, the best first."""
    sample_limit: Annotated[int, Field(ge=0)] = 0
    """More samples than these fail the scrape; 0 is no limit."""
    body_size_limit: Size = 32 << 20
    """A larger page, after decompression, fails the scrape. In bytes, or as `10MB`."""
    external_labels: dict[str, str] = Field(default_factory=dict)
    """Added to every sample that has no label of that name."""


class ScrapeConfig(Options):
    """Targets of one job, and how they are scraped."""

    job_name: Annotated[str, Field(min_length=1)]
    """The job: `service.name` of what is scraped."""
    scrape_interval: Duration = Field(60.0, ge=0.1)
    """How often."""
    scrape_timeout: Duration = Field(10.0, gt=0)
    """How long one scrape may take; not longer than the interval."""
    scrape_protocols: ScrapeProtocols = _SCRAPE_PROTOCOLS
    """The formats to ask for, the best first. Native histograms come only in `PrometheusProto`."""
    fallback_scrape_protocol: ScrapeProtocol | None = None
    """How to read a page whose content type is none of these; without it, such a page fails the scrape."""
    metrics_path: Annotated[str, Field(pattern="^/")] = "/metrics"
    """The path of the page."""
    scheme: Literal["http", "https"] = "http"
    """How targets are spoken to."""
    params: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The query of the URL."""
    static_configs: Annotated[tuple[StaticConfig, ...], Field(min_length=1)]
    """The targets."""
    basic_auth: BasicAuth | None = None
    """HTTP basic authentication."""
    authorization: Authorization | None = None
    """A token, as Bearer."""
    tls_config: TlsConfig = TlsConfig()
    """TLS of https targets."""
    relabel_configs: tuple[RelabelRule, ...] = ()
    """Relabelling of targets, before they are scraped; `__address__` is where, `__metrics_path__` and `__scheme__`
    what it is asked for."""
    metric_relabel_configs: tuple[RelabelRule, ...] = ()
    """Relabelling of samples, after the scrape."""
    honor_labels: bool = False
    """Where page and target have the same label, keep that of the page; else it is renamed to `exported_…`."""
    honor_timestamps: bool = True
    """Take the times that stand on the page."""
    sample_limit: Annotated[int, Field(ge=0)] = 0
    """More samples than these fail the scrape; 0 is no limit."""
    body_size_limit: Size = 32 << 20
    """A larger page, after decompression, fails the scrape. In bytes, or as `10MB`."""
    allow_link_local: bool = False
    """Allow targets in 169.254.0.0/16 or fe80::/10, where clouds keep their metadata service."""

    @model_validator(mode="before")
    @classmethod
    def _fit_timeout(cls, value: Any) -> Any:
        """The default timeout is not longer than a shorter interval."""
        if isinstance(value, dict) and "scrape_interval" in value and "scrape_timeout" not in value:
            return (
                {**value, "scrape_timeout": value["scrape_interval"]} if _is_short(value["scrape_interval"]) else value
            )
        return value

    @model_validator(mode="after")
    def _check_all(self) -> Self:
        if self.scrape_timeout > self.scrape_interval:
            raise ValueError("scrape_timeout is longer than scrape_interval")
        if self.basic_auth and self.authorization:
            raise ValueError("has both basic_auth and authorization; use one")
        hosts = [urlsplit(target.url).hostname or "" for target in self.targets()]
        if any(map(is_link_local, hosts)) and not self.allow_link_local:
            raise ValueError("a target is a link-local address; set allow_link_local if that is meant")
        return self

    def targets(self) -> list[Target]:
        """The targets that relabelling leaves. Raises ValueError for one that is no host and port."""
        plan = relabel_plan(self.relabel_configs)
        found = [
            plan.apply(list({**self._before(address), **group.labels}.items()))
            for group in self.static_configs
            for address in group.targets
        ]
        return list(dict.fromkeys(self._target(dict(labels)) for labels in found if labels is not None))

    def _before(self, address: str) -> dict[str, str]:
        return {
            "job": self.job_name,
            "__address__": address,
            "__scheme__": self.scheme,
            "__metrics_path__": self.metrics_path,
            **{f"__param_{name}": values[0] for name, values in self.params.items() if values},
        }

    def _target(self, labels: dict[str, str]) -> Target:
        address = labels.get("__address__", "")
        if not address or any(letter in address for letter in "/@?#") or not address.isprintable() or " " in address:
            raise ValueError(f"{address!r} is not a target; write it as host:port, with metrics_path and scheme apart")
        query = {name: list(values) for name, values in self.params.items()}
        for name, value in labels.items():
            if name.startswith("__param_"):
                query[name.removeprefix("__param_")] = [value, *query.get(name.removeprefix("__param_"), [])[1:]]
        scheme, path = labels.get("__scheme__", "http"), labels.get("__metrics_path__", "/metrics")
        url = f"{scheme}://{address}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        own = {name: value for name, value in labels.items() if not name.startswith("__")}
        job, instance = own.pop("job", self.job_name), own.pop("instance", address)
        return Target(_Url(url=url).url, job, instance, tuple(sorted(own.items())))


class _Url(Options):
    """To check a URL as other options do."""

    url: HttpUrl


def _is_short(interval: Any) -> bool:
    try:
        return ScrapeInterval(interval=interval).interval < 10.0
    except ValueError:
        return False


def _job(job: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """A job with what is common to all; a common timeout is not longer than its interval."""
    whole = {**common, **job}
    if "scrape_timeout" in common and "scrape_timeout" not in job:
        try:
            interval = ScrapeInterval(interval=whole.get("scrape_interval", 60.0)).interval
            shorter = ScrapeInterval(interval=common["scrape_timeout"]).interval > interval
        except ValueError:  # told where it stands
            return whole
        if shorter:
            whole["scrape_timeout"] = whole.get("scrape_interval", 60.0)
    return whole


class ScrapeInterval(Options):
    """To read an interval before the rest."""

    interval: Duration


class ScrapeConfigs(Options):
    """What Prometheus' own configuration says of scraping."""

    for_all: GlobalConfig = Field(default=GlobalConfig(), alias="global")
    """What holds for every job that does not say otherwise."""
    scrape_configs: Annotated[tuple[ScrapeConfig, ...], Field(min_length=1)]
    """The jobs."""

    @model_validator(mode="before")
    @classmethod
    def _hand_down(cls, value: Any) -> Any:
        """Jobs get what `global` sets and they do not."""
        given = value.get("global") if isinstance(value, dict) else None
        if not isinstance(given, dict) or not isinstance(value.get("scrape_configs"), list | tuple):
            return value
        common = {name: one for name, one in given.items() if name in GlobalConfig.model_fields}
        common.pop("external_labels", None)
        jobs = [_job(job, common) if isinstance(job, dict) else job for job in value["scrape_configs"]]
        return {**value, "scrape_configs": jobs}

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [job.job_name for job in self.scrape_configs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"job_name is used twice: {', '.join(twice)}")
        return self
