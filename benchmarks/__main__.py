"""`make bench`: runs every benchmark, prints a table and writes results.json."""

import json
from pathlib import Path

from benchmarks import checkpoint, gateway, journeys, native, points, scrape
from otel_pipeline.service.run import tune

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Everything, one after the other; other work on the machine makes the figures worse."""
    tune()  # as the gateway's process does
    results: dict[str, float] = {}
    for name, measure in (
        ("native", native.measure),
        ("points", points.measure),
        ("scrape", scrape.measure),
        ("checkpoint", checkpoint.measure),
        ("journeys", journeys.measure),
        ("idle", idle),
    ):
        print(f"{name} ...", flush=True)
        results |= measure()
    for protocol in ("grpc", "http"):
        for spans in (512, 100, 10):
            print(f"{protocol}, {spans} spans a request ...", flush=True)
            results |= gateway.measure(protocol, spans)
    rounded = {key: float(f"{value:.4g}") for key, value in results.items()}
    RESULTS.write_text(json.dumps(rounded, indent=2) + "\n")
    print_table(rounded)


def idle() -> dict[str, float]:
    """Memory of a gateway that waits."""
    return {"idle_rss_mib": gateway.idle_rss_mib()}


def print_table(results: dict[str, float]) -> None:
    """The figures as Markdown."""
    print("\n| | gateway | rotel | gateway ÷ rotel | spans/s, gateway | spans/s, rotel |\n|---|--:|--:|--:|--:|--:|")
    for protocol in ("grpc", "http"):
        for spans in (512, 100, 10):
            own, other = results[f"{protocol}_{spans}_us_per_span"], results[f"rotel_{protocol}_{spans}_us_per_span"]
            rate, other_rate = (results[f"{prefix}{protocol}_{spans}_spans_per_second"] for prefix in ("", "rotel_"))
            name = f"OTLP/{'gRPC' if protocol == 'grpc' else 'HTTP'}, {spans} spans a request"
            print(f"| {name} | {own:.2f} µs | {other:.2f} µs | {own / other:.2f} | {rate:,.0f} | {other_rate:,.0f} |")
    print(f"""
| | |
|---|--:|
| decode, enrich, stage metrics, encode, native | {results["native_us_per_span"]:.2f} µs a span |
| the same with protobuf messages in Python | {results["python_us_per_span"]:.1f} µs a span |
| data points into series, 512 a request | {results["ingest_us_per_point"]:.2f} µs a point |
| the same where sessions are added up | {results["ingest_us_per_summed_point"]:.2f} µs a point |
| scrape of 100,000 series | {_scrape(results, "scrape_100k")} |
| the same in protobuf, with native histograms | {_scrape(results, "scrape_100k_protobuf")} |
| checkpoint, 10,000 series, all changed | {results["checkpoint_cumulative_percent"]:.1f} % of a scrape |
| the same where deltas are added up | {results["checkpoint_delta_percent"]:.1f} % of a scrape |
| spans into the journey store | {results["journeys_spans_per_second"]:,.0f} a second, \
{results["journeys_bytes_per_span"]:.0f} bytes of disk each |
| a journey of 1,500 spans | {results["journeys_first_ms"]:.0f} ms, again {results["journeys_again_ms"]:.0f} ms |
| a page of the list of 20,000 requirements | {results["journeys_list_ms"]:.0f} ms |
| resident memory, idle | {results["idle_rss_mib"]:.0f} MiB |""")


def _scrape(results: dict[str, float], name: str) -> str:
    return f"{results[f'{name}_seconds']:.3f} s, {results[f'{name}_mib']:.0f} MiB"


if __name__ == "__main__":
    main()
