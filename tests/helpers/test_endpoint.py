"""Addresses to listen on: what is read, what is refused, how binding fails."""

import socket
from pathlib import Path

import pytest

from otel_pipeline.helpers.endpoint import BindError, Endpoint, exposure_problem, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:4317", Endpoint("127.0.0.1", 4317)),
        ("localhost:0", Endpoint("localhost", 0)),
        ("[::1]:4318", Endpoint("::1", 4318)),
        (":4318", Endpoint("0.0.0.0", 4318)),
        ("unix:/run/otel.sock", Endpoint(path="/run/otel.sock")),
        ("unix:///run/otel.sock", Endpoint(path="/run/otel.sock")),
    ],
)
def test_reads_addresses(text: str, endpoint: Endpoint) -> None:
    """Host and port, brackets, an empty host and unix sockets."""
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize("text", ["4317", "localhost", "http://localhost:4318", "::1:4317", "a:70000", "a:-1", "unix:"])
def test_refuses_what_is_no_address(text: str) -> None:
    """The message shows how to write it."""
    with pytest.raises(ValueError, match="write it like"):
        parse_endpoint(text)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1", "unix:/a"])
def test_local_addresses_need_no_permission(text: str) -> None:
    """What only this machine reaches may be open."""
    assert exposure_problem(parse_endpoint(text), authenticates=False, insecure_ok=False) == ""


@pytest.mark.parametrize("text", ["0.0.0.0:1", ":1", "[::]:1", "192.0.2.1:1", "gateway:1"])
def test_open_addresses_need_proof_or_a_word(text: str) -> None:
    """What other machines reach needs authentication, or the user's consent in so many words."""
    endpoint = parse_endpoint(text)
    assert "insecure_ok: true" in exposure_problem(endpoint, authenticates=False, insecure_ok=False)
    assert exposure_problem(endpoint, authenticates=True, insecure_ok=False) == ""
    assert exposure_problem(endpoint, authenticates=False, insecure_ok=True) == ""


def test_port_zero_takes_one_free_port_for_all_addresses() -> None:
    """`localhost:0` listens at one port on each address family that the machine has."""
    listeners = parse_endpoint("localhost:0").bind()
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    for listener in listeners:
        listener.close()


def test_taken_port_is_named() -> None:
    """The error says where, why and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=rf"127\.0\.0\.1:{port}.*in use.*choose another port"):
            Endpoint("127.0.0.1", port).bind()


def test_unknown_host_is_named() -> None:
    """A name that does not resolve is an error about that name."""
    with pytest.raises(BindError, match=r"no-such-host\.invalid"):
        Endpoint("no-such-host.invalid", 0).bind()


def test_address_of_another_machine_is_named() -> None:
    """An address that this machine does not have is said to be one."""
    with pytest.raises(BindError, match=r"192\.0\.2\.1:0.*no such address"):
        Endpoint("192.0.2.1", 0).bind()


def test_names_stand_for_the_addresses_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that also resolves to an address which the machine lacks is served on the others."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
    (listener,) = Endpoint("localhost", 0).bind()
    assert listener.getsockname()[0] == "127.0.0.1"
    listener.close()


def test_unix_socket_replaces_a_stale_one_but_no_file(tmp_path: Path) -> None:
    """A socket left over by a crash is no obstacle; another file at its path is kept."""
    endpoint = Endpoint(path=str(tmp_path / "s"))
    for _ in range(2):
        for listener in endpoint.bind():
            listener.close()
    (tmp_path / "f").write_text("kept")
    with pytest.raises(BindError):
        Endpoint(path=str(tmp_path / "f")).bind()
    assert (tmp_path / "f").read_text() == "kept"
