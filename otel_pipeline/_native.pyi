"""The native module (otel_pipeline/native). Only `pdata`, `prometheus`, `semconv` and `connectors` import it."""

from collections.abc import Sequence
from typing import Any, Literal

# --- batch.rs

class Batch:
    """One OTLP export request of one signal: immutable, checked, held as its protobuf bytes."""

    @property
    def signal(self) -> str:
        """`traces`, `metrics` or `logs`."""
    @property
    def items(self) -> int:
        """Spans, data points or log records."""
    @property
    def data(self) -> bytes:
        """The request as protobuf; of an untouched batch the very bytes that were received."""
    @property
    def size_bytes(self) -> int:
        """Length of `data`."""

    # columns.rs: one value for each item, in wire order; for metrics the items are the data points

    def column(self, key: str, *, level: Literal["nearest", "item", "scope", "resource"] = "nearest") -> list[Any]:
        """The attribute `key` of every item as Python values; None where it is absent.

        `nearest` looks at the item, then its scope, then its resource. Nesting beyond 32 reads as None.
        """
    def field(self, name: str) -> list[Any]:
        """A field of every item, by its OTLP name: `name`, `trace_id` (bytes), `start_time_unix_nano`, ...

        Spans also have `duration_ns` (0 where the end is before the start), `status_code` and `status_message`; data
        points `name` and `unit` of their metric. ValueError for an unknown name.
        """
    def with_column(self, key: str, values: list[Any]) -> Batch:
        """A batch in which the items' own attribute `key` is exactly `values`; None leaves it out.

        ValueError where the number of values is not `items`; TypeError for what no attribute can hold.
        """
    def where(self, keep: list[bool]) -> Batch:
        """A batch of the items whose flag is true. A metric that loses all its data points is left out."""

def merge(batches: Sequence[Batch]) -> Batch:
    """Joins batches of one signal in order. ValueError for none, or for mixed signals."""

def split(batch: Batch, max_items: int, max_bytes: int) -> list[Batch]:
    """Cuts into batches of at most `max_items` items and about `max_bytes` bytes (0 = no limit), in order."""

def from_trusted(signal: str, data: bytes) -> Batch:
    """A batch over bytes that are known to be well-formed: what our own code encoded. Never for received bytes."""

# --- decode.rs

class Limits:
    """Bounds of what a sender may put into one item. What is over is cut or left out and counted, never a reason to
    lose the item: nesting of values (a plain value is 1 deep, those in a list 2; over 32 counts as 32, or other
    protobuf readers could not follow), attributes of one list, bytes of a key, bytes of any other text or bytes."""

    def __init__(
        self,
        *,
        max_depth: int = 32,
        max_attributes: int = 128,
        max_key_bytes: int = 256,
        max_value_bytes: int = 65536,
    ) -> None: ...

class Findings:
    """What `decode` rejected and repaired."""

    @property
    def rejected(self) -> int:
        """Items left out of the batch, for `partial_success`."""
    @property
    def message(self) -> str:
        """One English sentence for the sender; may be non-empty with nothing rejected (a warning)."""
    @property
    def counts(self) -> dict[str, int]:
        """How often, by reason.

        Items rejected: `invalid_trace_id`, `invalid_span_id`, `invalid_parent_span_id`.
        Parts left out: `invalid_link`, `attribute_dropped`, `invalid_exemplar_id` (the id), `zero_parent_span_id` (the
        id: it means none), `too_deep` (the value). Altered: `invalid_utf8`, `key_truncated`, `value_truncated`.
        Kept but not read: `legacy_instrumentation_library`.
        """

def decode(signal: str, body: bytes, json: bool, limits: Limits) -> tuple[Batch, Findings | None]:
    """A checked batch of a received request; Findings where anything was rejected or repaired.

    `json` says that `body` is OTLP/JSON. A clean protobuf body is kept as it is, without a copy. In the batch every
    text is UTF-8, ids have their length, and a span's parent id is either empty or not zero.
    Raises errors.DecodeError where the body as a whole cannot be read; it says where and why.
    """

def to_json(batch: Batch) -> bytes:
    """The batch as compact OTLP/JSON: hex ids, integer enums, 64-bit integers as strings. Unknown fields are left out.

    Source: opentelemetry-proto `docs/specification.md`, "JSON Protobuf Encoding".
    """

# --- json.rs

# --- condition.rs, edit.rs

class ConditionPlan:
    """Conditions as JSON: a list of objects, each with any of resource, attributes (key -> matcher), scope, name, kind,
    status, severity, body, duration in seconds (matchers). A matcher is {literal}, {glob}, {regex}, {present},
    {any: [..]}, {not: ..} or {range: [at least, below]}. ValueError says which condition cannot be used."""

    def __init__(self, conditions_json: str) -> None: ...

def drop_matching(batch: Batch, plan: ConditionPlan) -> Batch:
    """The batch without the spans, log records or metrics for which any one condition holds in all its parts."""

class AttributePlan:
    """Actions as JSON, a list in order: {action: insert|update|upsert, key, source: {value|from_attribute}},
    {action: delete|hash, key|pattern}, {action: extract, key, pattern}, {action: convert, key, to: int|double|string}.
    ValueError says which action cannot be used."""

    def __init__(self, actions_json: str, on_resource: bool) -> None: ...

def edit_attributes(batch: Batch, plan: AttributePlan) -> Batch:
    """The batch with the actions applied to the attributes of every item, or of every resource."""

# --- enrich

def journey_ids(project: str, requirement: str) -> tuple[bytes, bytes]:
    """Trace id and root span id of a journey's trace, 16 and 8 bytes: the first halves of SHA-256 over both ids, each
    behind its length, and over the trace id, so that no two pairs are alike."""

def link_journeys(batch: Batch) -> Batch:
    """The batch with a link to the journey's root on every span that is a run of a stage (`sdlc.stage.run`, or a stage
    and no parent) and tells its requirement. A span that has the link stays as it is."""

class SemconvPlan:
    """What the enrichment pass does: canonical attributes and rules, made ready once. It counts what stays unknown."""

    def __init__(self, text: str, senders_limit: int = 100) -> None:
        """Reads the JSON of `otel_pipeline.semconv.compile`. ValueError where it is none. Findings tell so many senders
        apart; all further ones are `_other`."""

    def enrich(self, batch: Batch) -> Batch:
        """As the function `enrich`; findings are added up here, for `take_findings`."""

    def explain(self, batch: Batch) -> str:
        """What `enrich` finds in a batch and why, as JSON: a list of every resource, scope and item (span, event = log
        record, point), each before what is below it.

        Each is {kind, name, values, rules, unknown, unread}, spans also with ids in hex. `name` of a resource is its
        `service.name`; of a log record it is empty where only the body names it and no rule knows that text.
        `values`: [{attribute, value, from}] that stand there in the end; `from` is {attribute: key that the sender
        wrote}, {rule: index in the plan} or {span_id, span_name} of the ancestor. `rules`: all that match, by index.
        `unknown`: expected attributes that neither the item nor anything around it has. `unread`: keys that nothing
        looks at. Contents are not told.
        """

    def take_findings(self) -> EnrichFindings | None:
        """What batches left unresolved since the last call; None for nothing."""

class EnrichFindings:
    """What could not be resolved. Senders are `service.name`, cut to 100 characters, "" where there is none."""

    @property
    def unresolved(self) -> list[tuple[str, str, int]]:
        """Sender, key of an expected attribute, and items (spans, log records, data points) that have no value for it,
        not even from an ancestor in the same batch."""

    @property
    def unexpected(self) -> list[tuple[str, str, int]]:
        """Sender, key of a canonical attribute, and how often it stood somewhere with a value of a type that it does
        not take. Such values count as absent."""

def enrich(batch: Batch, plan: SemconvPlan) -> tuple[Batch, EnrichFindings | None]:
    """Puts canonical attributes on items, scopes and resources, each where its value is known: what the resource tells
    stands on the resource, once. Spans take from their ancestors; log records and data points from nobody. Nothing is
    written that is known already; the same batch comes back where nothing is to be written. Findings of this batch
    where there are any.
    """

def regex_problem(pattern: str) -> str | None:
    """What is wrong with a regular expression of the rules (syntax of Rust's regex crate); None for a good one."""

# --- journeys/

class JourneyPlan:
    """What is read of items for requirement journeys. Safe to use from several threads."""

    def __init__(self, plan: str) -> None:
        """`plan` is JSON; `semconv.journey_plan` makes it and documents it. ValueError says what is wrong."""
    def extract(
        self, batches: Sequence[Batch]
    ) -> tuple[
        list[tuple[str, int, int, int, bytes, list[str], list[int]]],
        list[tuple[str, str]],
        list[tuple[str, str, str]],
        list[tuple[int, int, int, int, int, str]],
        list[tuple[int, str, int, int, int]],
        list[tuple[str, int]],
    ]:
        """What batches of any signals together tell, as lists:

        - chunks: trace id, first start, last end, spans, blob, linked traces, places in the next list
        - operations: service name, span name
        - keys: kind, scope, value
        - edges: places of cause and product among keys, first, last, items, a trace id or nothing
        - sightings: place among keys, trace id, first, last, items
        - left out: reason, count

        Times are Unix nanoseconds, at most 2**63 - 1. A blob is OTLP TracesData without content attributes, compressed.
        """
    def runs(self, blobs: Sequence[bytes]) -> bytes:
        """The runs of the trace whose chunks have these blobs: a JSON list of lists with the fields of
        `journeys.model.Run` in order, without the trace id. By start, each after the run that it was called from; the
        same for every order of the blobs, and for spans that are there twice. Damaged blobs are left out."""

def unpack_chunk(blob: bytes) -> bytes | None:
    """The OTLP TracesData in a blob; None where it is damaged."""

# --- live_check/

class LiveCheck:
    """Compares batches of all signals with a registry: findings with the ids, levels and words of Weaver's
    `registry live-check`, and its statistics. Safe to use from several threads.

    The plan is the JSON of `otel_pipeline.semconv.live_check`. Memory is bounded: attributes, metrics and events that
    the registry does not have (`max_names` of each), names of signals, services, scopes and units (`max_texts`), and
    what was found where (`max_findings`). What comes after is counted under the name `_other`.
    """

    def __init__(
        self, plan_json: str, *, max_names: int = 2000, max_texts: int = 4000, max_findings: int = 20_000
    ) -> None:
        """ValueError says what is wrong with the plan."""
    def update(self, batch: Batch) -> list[tuple[str, str, int]]:
        """Takes in a batch; returns id, level and number of its findings."""
    def report(self) -> str:
        """Everything since the start, as JSON: `findings` (one for each id, signal and attribute, with `count`, the
        worst first), `statistics` with Weaver's keys, and `overflow`, findings that are in no entry of `findings`.

        It holds names, types and members of enums; other values never.
        """

# --- aggregate/

class SpanAggregator:
    """Items into cumulative metrics. Times are nanoseconds: `now_ns` is monotonic, `unix_ns` is of the wall clock.

    The plan is JSON:
    - `metrics`: list of {name, description, unit, instrument: counter|updowncounter|gauge|histogram, buckets (upper
      bounds in the unit), labels, max_exemplars (0 = none), derivations, constants: [{labels: one text for each label,
      value}]}.
    - a label: {name, from: {attributes: [keys]} | {field: span_name|span_kind|status_code}, default, domain, buckets:
      [[word, greatest number or null], ..]}. The first of the attributes that is on the item is taken, else on its
      scope, else on its resource; one that is missing and has no default is left out. `domain` is as in the enrichment
      plan: the texts that stand for each other. With `buckets` a number becomes the first word that covers it.
    - a derivation: {source, selector, late, value, scale, states, labels, takes}.
      `source` is `all` without late binding; else `stage_runs`, `spans` (those that are no stage runs), `all_spans` or
      `errors` (failed spans without a failed child); `events` (log records), `points` (data points), `usage`.
      `selector` is as in the enrichment plan, but for a key in `attributes` there may be a list of keys, of which the
      first that is there counts; it is asked when the item arrives. `late`: [[key, [texts]], ..]: what attributes must
      be when the item is counted, after inheritance.
      `value` is `one`, `duration` (of spans), `point` (of points), `tokens` or `cost` (of usage), or {attributes:
      [keys]}: the number in the first that is there, times `scale`.
      `states`: {label: index, values: [[number, word], ..]}: a series for each word, 1 for that of the number.
      `labels`: label index -> {value: text} | {attributes: [keys]} | {metric: name}, where this source calls them
      otherwise; the last is the value of that metric in the same resource.
      `takes`: the data points counted are not passed on.
      Of data points a counter adds what their stream grew by. A cumulative stream that cannot have been there before
      (its start time is after `start_unix_ns`, and after that of any stream that was forgotten) counts from 0, any
      other from its first point on. An up-down counter is the sum of what its streams said last; a stream that is
      silent for an hour is taken off. A gauge shows the latest. A histogram takes histograms: a bucket is counted where
      its upper end belongs.
    - `exemplar_attributes`: up to two labels that exemplars carry.
    - `cardinality_limit`: series of one metric, that with `otel.metric.overflow` included; 0 = no limit.
    - `series_expiration_ns`: series untouched for so long are forgotten; 0 = never.
    - `late_binding`, optional: {stage, model, outcome, stage_run, noise, inherited: attribute keys; success, failure:
      outcomes of spans that name none, by status; decision_wait_ns, max_wait_ns, max_spans}. Items then wait until what
      depends on the rest of their trace is known. Noise is counted as an error, and by what selects it.
    - `usage`, optional: how items tell the tokens and the cost of model requests, so that each counts once: {rules,
      prices, model: the attribute with the model, token_type: the attribute that labels take the kind from}. The policy
      is told in native/src/aggregate/usage/mod.rs.
      A rule: {item: span|event|point, selector, request: [keys of the request's id], session: [keys of whose usage it
      is], tokens: {kind: [keys]}, cost_usd: [keys], sum: whether it tells several requests, inside: {kind: the kind
      that this sender counts it in}}; for data points {value: tokens|cost, kind: KIND | {attribute, map: [[word, kind],
      ..]}} instead of tokens and cost_usd.
      Kinds are input, output, cache_read, cache_creation, reasoning.
      A price: {model, from_unix_ns, per_million: {kind: USD}, above: {input_tokens, per_million}}.
    """

    def __init__(self, plan_json: str, start_unix_ns: int) -> None:
        """ValueError says what is wrong with the plan."""
    def update(self, batch: Batch, now_ns: int) -> tuple[int, Batch | None]:
        """Takes in a batch of any signal. Returns how many of its items were left out, as duplicates or for invalid
        ids; and of metrics what is to be passed on: the same batch where nothing was taken, None where all was.

        Without late binding items are not compared, and none are left out.
        """
    def flush(self, now_ns: int, unix_ns: int) -> Batch | None:
        """Counts the spans that are due and returns the series that changed: metrics without resource and scope.

        Points are cumulative; their start time is the last flush before the series was born, when it was 0.
        """
    def flush_all(self, now_ns: int, unix_ns: int) -> Batch | None:
        """As `flush`, but no span waits any longer."""
    @property
    def waiting(self) -> int:
        """Spans that are not counted yet."""
    @property
    def waiting_events(self) -> int:
        """Log records that are not counted yet."""
    def stats(self) -> dict[str, int]:
        """Since the start: `spans`, `duplicates`, `invalid_ids`, `invalid_durations` (counted as 0), `decided_early`
        (to stay below max_spans), `late_parents` (stage runs whose child had been counted as one), `events` (log
        records that something was to be made of), `repeated_events`, `invalid_values` (no numbers, infinite ones, or
        negative ones for what never falls), `claims_left_out` (attributes over 32 of one item), `points` (data points
        that something was made of), `repeated_points` (not newer than what their stream said), `unsupported_points`
        (of a kind that the derived metric cannot take in; they are passed on), `streams_met_running` (of cumulative
        senders that had begun before the aggregator, or may have been forgotten: they count from their first point on),
        `overflowed` (observations of overflow series). Now: `series`, `streams`, `waiting`, `waiting_events`,
        `buffered` (items kept, counted or not).

        Of usage, since the start: `usage_duplicates` (items that told a counted request again), `usage_superseded`
        (requests, and data points of one session and label set, whose session is counted from another source),
        `usage_forgotten` (requests and sessions, to stay below max_spans), `usage_invalid_numbers`. Now:
        `usage_waiting`."""
    def missing_prices(self) -> dict[str, int]:
        """Model requests whose cost nobody told and the price list does not have, by model, since the start."""
    def take_rows(self, now_ns: int, everything: bool) -> dict[str, list[tuple[int, float, list[str]]]]:
        """Counts what is due, or everything, as `flush` does. Then: the observations of the metrics whose instrument is
        `rows`, since the last call, by name: time in Unix nanoseconds, value in the unit, label values (empty where
        there is none). With the same labels, durations that overlap are one, and other values are added up. At most
        100,000 wait for each; what is over counts as `overflowed`."""

# --- prometheus/

def prometheus_name(name: str, unit: str, instrument: str) -> str:
    """The name under which a metric is scraped: `sdlc.stage.runs` in `{run}`, a counter, is `sdlc_stage_runs_total`.

    `instrument` is counter, updowncounter, gauge or histogram. Empty where `name` has no legal character.
    """

class Ingested:
    """What became of the data points of one batch; `kept` and the sum of `dropped` are all of them."""

    @property
    def kept(self) -> int:
        """In a series, or added to an overflow series."""
    @property
    def dropped(self) -> dict[str, int]:
        """Data points by reason.

        Order: `old_point`, `old_start_time`, `counter_decreased`, `bounds_changed`. Limits: `series_limit`,
        `stream_limit`, `overflow_full`, `total_too_large`. Names: `type_conflict`, `own_name`, `invalid_name`. Content:
        `invalid_value`, `invalid_histogram`, `invalid_summary`, `no_sum`, `scale_too_low`, `unspecified_temporality`.
        """
    @property
    def notes(self) -> dict[str, int]:
        """What was noticed without dropping a point.

        Streams: `restart` (counting began anew), `gap` and `overlap` (a delta that does not begin where the last one
        ended), `future_time` (over five minutes ahead: taken as of now), `stream_limit` (added, but a repetition would
        be too), `buckets_merged` (other bounds than the series: count and sum are exact). Pages: `overflow`,
        `help_conflict`, `exemplar_dropped`, `label_value_truncated`, `target_limit`."""

class Restored:
    """What a store took from a checkpoint."""

    @property
    def series(self) -> int: ...
    @property
    def streams(self) -> int: ...
    @property
    def left_out(self) -> int:
        """Series and streams over a limit. Totals of series that were taken are whole."""
    @property
    def written_ns(self) -> int:
        """When the last record was made, in Unix nanoseconds; 0 where nothing could be read."""
    @property
    def problem(self) -> str | None:
        """None where everything was taken. Nothing was: `empty`, `foreign`, `version`, `configuration` (other names or
        labels), or `damaged` with no series. Of counters and histograms the totals, but not what senders said last:
        `damaged`, `clock` (written more than five minutes ahead of now). Some: `over_limit`. All but the last record,
        which was not written to its end: `torn`."""
    @property
    def scrapers(self) -> list[tuple[int, str]]:
        """Slots that have an owner, with its name."""

class NameConflict:
    """A metric that does not agree with what has its name already. Texts are cut at 200 characters."""

    @property
    def metric(self) -> str:
        """The family's name, a counter's without `_total`."""
    @property
    def reason(self) -> str:
        """`type_conflict` (its points were dropped), `own_name` (dropped, the gateway has the name) or `help_conflict`
        (its points were kept, and its help was not shown)."""
    @property
    def held(self) -> str:
        """The type or help that stays; where names of samples collide, the type and name of the other family."""
    @property
    def told(self) -> str:
        """The type or help that was refused."""
    @property
    def job(self) -> str:
        """Who told it, as in the label; empty where the resource does not say."""
    @property
    def scope(self) -> str: ...
    @property
    def count(self) -> int:
        """Data points; of help, metrics."""
    @property
    def last_seen_ns(self) -> int:
        """Unix nanoseconds."""

class SeriesStore:
    """Prometheus series, fed by OTLP metrics and read as pages. Safe to use from several threads.

    A stream is what one sender writes: metric, all attributes, scope and resource. A series is what is shown: the
    labels that stay. Within a stream an older point is dropped, within one start time a counter never falls, a later
    start time is a restart, an earlier one is a writer that another has replaced.

    A series of one cumulative stream shows its latest point as it is. One of several streams, or of deltas, adds up
    what each of them gains: a restart adds, and what a stream brought stays when it ends. Of a stream that began before
    the store and joins others only the gains count. A sum that is not monotonic adds up the last values of the streams
    that are alive; a gauge shows the latest value of any. Over a limit, counters and histograms are added up in the
    series `otel_metric_overflow="true"`.

    **Zero first.** `increase()` and `rate()` see a series only from its second sample on, so a counter that is born
    with 5 would lose these 5. Therefore a scraper sees a new counter or histogram once as 0, and from then on with its
    value. This is right only where 0 was the true value before, and nobody has seen another one:

    - The series must be fresh: its start time is known, is not before `epoch_ns` (else an earlier gateway may have
      shown it), and is not older than `metric_expiration_ns` (else it may have been here, expired and been forgotten).
    - It must be new to the scraper: nobody was shown it yet, or it was born after the scraper became known. A scraper
      that appears later gets the values, for it may be a known one under a new address, and 0 would be a false reset.
    - A reset is a birth: the scraper sees 0 again, so that nothing is lost where the new value is above the old one.

    The rule for fresh streams holds for the overflow series too: a stream that is not fresh adds only its gains.
    """

    def __init__(
        self,
        *,
        epoch_ns: int,
        namespace: str = "",
        const_labels: Sequence[tuple[str, str]] = (),
        send_timestamps: bool = False,
        created_timestamps: bool = True,
        without_scope_info: bool = False,
        translation_strategy: str = "UnderscoreEscapingWithSuffixes",
        drop_labels: Sequence[str] = (),
        given_labels: Sequence[tuple[str, str]] = (),
        resource_labels: bool = False,
        exclude_service_attributes: bool = False,
        metric_expiration_ns: int = ...,
        max_series_per_metric: int = 2000,
        max_series: int = 100_000,
        max_streams: int = 200_000,
        zero_first: bool = True,
        kept: bool = False,
        collected: str = "",
    ) -> None:
        """`epoch_ns` is now, in Unix nanoseconds of the clock that all calls use.

        `max_series_per_metric` counts label sets; `max_series` counts lines of text, of which a histogram has one for
        each bucket and two more. As many streams as `max_series` are remembered behind overflow series, and
        `max_streams` behind all others.

        `drop_labels` are attributes that never become labels: keys, or keys with one `*` at the start or the end.
        `given_labels` are attributes and their labels, taken from the data point, else from the resource.
        `resource_labels` makes labels of all attributes of the resource, with `exclude_service_attributes` of all but
        the three that name the service. ValueError for a strategy that does not exist.

        `kept` is for a store whose changes are taken: it notes them, and what it has shown never falls. Where the one
        sender of a counter or histogram begins anew, the series adds up from there instead of beginning anew too; a
        summary, whose quantiles cannot be added up, still does.

        `collected` says what `collect` is to give of counters and histograms: `cumulative` or `delta`; empty where it
        is not called.
        """
    def ingest(self, batch: Batch, now_ns: int) -> Ingested:
        """Takes a batch of metrics. ValueError for another signal."""
    def render(self, format: str, scraper: int | None, now_ns: int, own: bytes = b"", utf8: bool = False) -> bytes:
        """The page: `own` (the gateway's own families, without `# EOF`), then all series.

        `format` is `text` (0.0.4), `openmetrics` (1.0) or `protobuf` (delimited MetricFamily; `own` is text then too).
        Exponential histograms are native in protobuf, with classic buckets beside them, and classic elsewhere; in
        protobuf the sum of a histogram that has none is NaN. `scraper` is a slot from 0 to 63 that sees 0 first; None
        sees the values and changes nothing. Names of `own` are taken: other families of these names are dropped.
        With `utf8` names of the strategies that do not escape stand as they are; else they are escaped.
        """
    def register_scraper(self, slot: int, name: str = "") -> None:
        """Gives a slot to a scraper that is not known yet; its former owner is forgotten. `name` is for `restore`."""
    def expire(self, now_ns: int) -> int:
        """Removes what was not ingested for the expiration time; gives the number of series that went."""
    def collect(
        self, now_ns: int, *, repeat_ns: int, zero_ns: int, max_samples: int, targets: bool = True
    ) -> list[Batch]:
        """What changed since the last call, and what was last given `repeat_ns` ago, as metrics under the names and
        labels of the page, without resource and scope. Expires first.

        A point has the time of its value: never before one that was given, not more than five minutes ago, and now
        where nothing changed. A new counter or histogram is given twice where zero first allows: as 0 at its start, at
        most `zero_ns` before, then as it is. What expired, or has no value now, is given once with the flag
        no-recorded-value. After `restore`, what the former store gave is given again, with a time of now.

        Where the store was made for `delta`, counters and histograms are given as what they gained since the last call
        of all, which is their start; in the first call, since the former store's last one, or `epoch_ns`. What the
        former store held was given. Of a series that may have counted before `epoch_ns` the first value is not a gain.

        Exemplars are given once. A batch ends before `max_samples` lines of text; with `targets` the first begins with
        `target_info`, and the end of those that are gone. For one who collects, of a store that is not rendered.
        """
    def take_changes(self, now_ns: int, *, everything: bool = False) -> bytes:
        """What has changed since the last call, to be appended to a checkpoint; empty where nothing has. With
        `everything`, a whole new checkpoint. What was taken and is not kept is only in the next whole one.

        It holds at least what pages rendered before the call have shown: series and the streams behind them, of one
        moment within each family, scrapers and what each has seen, targets; no exemplars.
        """
    def restore(self, checkpoint: bytes, now_ns: int) -> Restored:
        """Fills an empty store; what is older than `metric_expiration_ns` is left out. No bytes raise an error."""
    def conflicts(self) -> list[NameConflict]:
        """Metrics that did not agree with what has their name; over a hundred, those seen longest ago are forgotten."""
    def stats(self) -> dict[str, int]:
        """`families`, `series`, `lines`, `streams` (of them `overflow_streams`) and `targets` held now."""

class WriteRequest:
    """The body of a remote-write request, in Snappy, and what it holds."""

    @property
    def body(self) -> bytes: ...
    @property
    def samples(self) -> int: ...
    @property
    def histograms(self) -> int:
        """Native ones; each series of a classic histogram counts as a sample."""
    @property
    def exemplars(self) -> int: ...

def write_request(
    batch: Batch, version: int, *, native_histograms: bool, metadata: bool, max_bytes: int
) -> WriteRequest | None:
    """A batch of `SeriesStore.collect` for remote write, `version` 1 (`prometheus.WriteRequest`) or 2
    (`io.prometheus.write.v2.Request`); None where the message, before compression, would be over `max_bytes`.

    Without `native_histograms` exponential histograms become classic buckets. `metadata` tells type, help and unit.
    ValueError for another signal or version.
    """

# --- event_spans/

class EventSpans:
    """Makes spans of log records that stand for work, where the same work does not arrive as spans. Safe to use from
    several threads. All times are nanoseconds of one monotonic clock, but for `unix_ns`.
    """

    def __init__(self, plan: str) -> None:
        """`plan` is JSON: what `otel_pipeline.semconv.event_span_plan` gives, and `limits`.

        Of `limits`, `wait_ns` is how long a record is kept before it becomes a span, `prompt_idle_ns` when a prompt is
        over for which nothing is done, `memory_ns` how long sessions and the spans seen of them are remembered, at
        most `max_sessions` of them. Over `max_held_bytes` that wait, records become no spans. ValueError for a plan
        that cannot be read.
        """
    def update(self, batch: Batch, now_ns: int, unix_ns: int) -> None:
        """Takes in log records; of traces, notes which sessions send spans. Metrics say nothing. A record without a
        time is of `unix_ns`."""
    def flush(self, now_ns: int, *, everything: bool = False) -> Batch | None:
        """The spans that are due, or all that there will be."""
    @property
    def waiting(self) -> int:
        """Records that wait, and prompts that are not over."""
    def stats(self) -> dict[str, int]:
        """Counts since the start.

        `made` spans; records `left_to_spans`, as their sender sends these; spans of no length for an
        `invalid_duration`, or ended now as they were `without_time`; work `without_prompt`; prompts
        `without_session`, which become nothing, and so do records that are `too_many`; `late_work` for a prompt that
        was over; sessions that were made spans of before theirs came (`late_spans`); prompts that ended before their
        time for want of room (`decided_early`); sessions and traces of which it was `forgotten` that they send spans.
        """

# --- senders.rs

class Sender:
    """What is known of one sender: one signal of one service in one project. Times are Unix nanoseconds."""

    @property
    def service(self) -> str:
        """`service.name`; `unknown_service` where there is none, `_other` for all senders over the limit."""
    @property
    def project(self) -> str:
        """`sdlc.project.id` of the resource, else of its first item; `unknown` where there is none."""
    @property
    def signal(self) -> str: ...
    @property
    def first_seen_ns(self) -> int: ...
    @property
    def last_seen_ns(self) -> int: ...
    @property
    def requests(self) -> int:
        """Resources of batches."""
    @property
    def items(self) -> int: ...
    @property
    def items_per_second(self) -> float:
        """Over the last minute."""
    @property
    def protocols(self) -> list[str]:
        """In the order of appearance, at most eight."""
    @property
    def sdk(self) -> tuple[str, str, str]:
        """Name, language and version; name and version of the first scope where the resource tells neither name nor
        language. Empty where nothing is told."""

class SenderTable:
    """Counts what came from each sender. Safe to use from several threads."""

    def __init__(self, *, max_senders: int, forget_after_ns: int) -> None:
        """Over `max_senders`, those silent for `forget_after_ns` are forgotten; where there are none, what is new is
        counted as `_other`. A sender takes about 1 KiB."""
    def update(self, batch: Batch, protocol: str, now_ns: int) -> None:
        """Counts a batch that came in by `protocol`; empty where that is not known."""
    def read(self, now_ns: int) -> list[Sender]:
        """Every sender, ordered by service, project and signal."""

def first_service(body: bytes) -> str:
    """`service.name` of the first resource of a request in protobuf; empty where that cannot be read."""

class RelabelPlan:
    """Relabelling rules as Prometheus has them, made ready to be applied."""

    def __init__(self, rules: Sequence[tuple[str, Sequence[str], str, str, str, str]]) -> None:
        """Each rule is action (`replace`, `keep`, `drop`, `labelmap`, `labeldrop` or `labelkeep`), source labels,
        separator, regex, target label and replacement. ValueError for a regex that cannot be compiled."""
    def apply(self, labels: Sequence[tuple[str, str]]) -> list[tuple[str, str]] | None:
        """The labels after all rules; None where they are dropped."""

class Scraped:
    """What became of one scrape."""

    @property
    def batch(self) -> Batch:
        """The metrics of the page, and always `up` with its companions."""
    @property
    def problem(self) -> str:
        """Why nothing of the page was used; empty where it was, or where there was none."""
    @property
    def scraped(self) -> int:
        """Samples on the page."""
    @property
    def refused(self) -> dict[str, int]:
        """Lines, samples and points that were left out, by reason.

        Lines: `malformed_line`, `line_too_long`, `invalid_utf8`, `invalid_value`, `invalid_timestamp`, `name_too_long`,
        `label_limit`, `duplicate_label`. Samples: `duplicate_sample`, `stray_sample`, `invalid_bound`, `renamed_part`,
        `no_name`, `family_limit` (more than 50,000 families).
        Points: `incomplete_histogram`, `buckets_decrease`, `incomplete_summary`, `invalid_count`. Of
        protobuf also `malformed_family`, `no_value`, `gauge_histogram` (native ones, which OTLP has not),
        `invalid_schema`, `invalid_buckets`, `too_many_buckets`.
        """

class ScrapeTarget:
    """One target of the receiver `prometheus`, with what it has to remember: when its series began, and which of them
    were on its last page."""

    def __init__(
        self,
        *,
        job: str,
        instance: str,
        labels: Sequence[tuple[str, str]],
        external_labels: Sequence[tuple[str, str]] = ...,
        resource: Sequence[tuple[str, str]],
        relabel: RelabelPlan,
        honor_labels: bool,
        honor_timestamps: bool,
        sample_limit: int,
    ) -> None:
        """`labels` are those of the target beside `job` and `instance`; `external_labels` are added at last, where the
        name is free; `resource` are attributes beside `service.name` and `service.instance.id`, which are made of
        `job` and `instance`. `sample_limit` 0 leaves a limit of 1,000,000."""
    def scrape(self, page: bytes | None, format: str, now_ns: int, duration_seconds: float) -> Scraped:
        """Reads a page of `text` (0.0.4), `openmetrics` (1.0) or `protobuf` (delimited MetricFamily); None is a scrape
        that failed. ValueError for another format.

        A line or family that cannot be read costs only itself. The whole page is refused where it has more than
        `sample_limit` samples, ends before `# EOF` (OpenMetrics) or within a family, or holds nothing that can be read.

        A series that the last page had and this one has not comes once more, with the flag "no recorded value"; after
        a failed scrape these are all. As in Prometheus, series whose time stands on the page do not.
        """
