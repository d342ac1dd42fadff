"""Endpoints: what may be called, and what of a URL may be shown."""

import pytest

from otel_pipeline.helpers.peer_endpoint import GrpcEndpoint, is_link_local, parse_grpc_endpoint, redact_url


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("localhost:4317", GrpcEndpoint("localhost:4317", "localhost")),
        ("http://10.0.0.1:4317/", GrpcEndpoint("10.0.0.1:4317", "10.0.0.1", "http")),
        ("https://[::1]:4317", GrpcEndpoint("[::1]:4317", "[::1]", "https")),
        ("dns:///peer:4317", GrpcEndpoint("dns:///peer:4317", "peer")),
        ("unix:///run/otlp.sock", GrpcEndpoint("unix:///run/otlp.sock", "")),
    ],
)
def test_grpc_endpoints_are_taken_apart(endpoint: str, expected: GrpcEndpoint) -> None:
    """The Collector's ways to write an endpoint are understood."""
    assert parse_grpc_endpoint(endpoint) == expected


@pytest.mark.parametrize(
    "endpoint",
    ["", "peer", "peer:", ":4317", "peer:x", "peer:99999", "ftp://peer:1", "http://u:p@peer:1", "http://peer:1/v1"],
)
def test_other_grpc_endpoints_are_refused(endpoint: str) -> None:
    """What is no host and port is a problem for the user, without the endpoint's text in it."""
    with pytest.raises(ValueError, match="host") as caught:
        parse_grpc_endpoint(endpoint)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.43518", "fe80::1", "[fe80::1]", "::ffff:169.254.1.1"],
)
def test_link_local_addresses_are_known_in_every_spelling(host: str) -> None:
    """Decimal, hexadecimal, short and mapped spellings reach the same metadata service."""
    assert is_link_local(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "localhost", "example.com", "::1", "", "\udcff"])
def test_other_hosts_are_not_link_local(host: str) -> None:
    """Everything else is allowed, and names are not looked up."""
    assert not is_link_local(host)


def test_shown_urls_have_no_secrets() -> None:
    """User name, password, query and fragment go."""
    assert redact_url("https://user:pa%40ss@peer:4318/v1?key=abc#x") == "https://peer:4318/v1"
