"""The native module (otel_pipeline/native). Only `pdata`, `prometheus`, `semconv` and `connectors` import it."""

from collections.abc import Sequence

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

def merge(batches: Sequence[Batch]) -> Batch:
    """Joins batches of one signal in order. ValueError for none, or for mixed signals."""

def split(batch: Batch, max_items: int, max_bytes: int) -> list[Batch]:
    """Cuts into batches of at most `max_items` items and about `max_bytes` bytes (0 = no limit), in order."""

def from_trusted(signal: str, data: bytes) -> Batch:
    """A batch over bytes that are known to be well-formed: what our own code encoded. Never for received bytes."""

# --- decode.rs

class Limits:
    """Bounds of what a sender may put into one item. What is over is cut or left out and counted, never a reason to
    lose the item: nesting of values, attributes of one list, bytes of a key, bytes of a text or bytes value."""

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
        """How often, by reason: `invalid_trace_id`, `invalid_utf8`, `value_truncated`, ..."""

def decode(signal: str, body: bytes, json: bool, limits: Limits) -> tuple[Batch, Findings | None]:
    """A checked batch of a received request; Findings where anything was rejected or repaired.

    `json` says that `body` is OTLP/JSON. A clean protobuf body is kept as it is, without a copy.
    Raises errors.DecodeError where the body as a whole cannot be read.
    """

# --- json.rs

# --- columns.rs

# --- condition.rs, edit.rs

# --- enrich.rs

# --- aggregate.rs

# --- store.rs
