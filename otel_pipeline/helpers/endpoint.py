"""Addresses to listen on: reading them, refusing open ones by accident, binding with clear errors."""

import errno
import ipaddress
import os
import socket
import stat
from dataclasses import dataclass

__all__ = ["BindError", "Endpoint", "check_exposure", "exposure_problem", "parse_endpoint"]


class BindError(OSError):
    """An address that cannot be listened on; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen: a host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect: a loopback address, `localhost` or a unix socket."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def bind(self) -> list[socket.socket]:
        """Listening sockets, one for each address of the host. Raises BindError; nothing stays open then.

        Port 0 takes a free port, the same for all addresses; `getsockname` tells it.
        """
        return [_bind_unix(self.path)] if self.path else _bind_tcp(self)


def parse_endpoint(text: str) -> Endpoint:
    """Reads `127.0.0.1:4317`, `[::1]:4317`, `localhost:0`, `:4317` or `unix:/run/otel.sock`. Raises ValueError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path:
            raise ValueError(f"no path in {text!r} (write it like unix:/run/otel-pipeline.sock)")
        return Endpoint(path=path)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or "/" in host:
        raise ValueError(f"not an address to listen on: {text!r} (write it like 127.0.0.1:4317, without http://)")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address needs brackets: {text!r} (write it like [::1]:4317)")
    return Endpoint(host=host or "0.0.0.0", port=int(port))


def exposure_problem(endpoint: Endpoint, *, authenticates: bool, insecure_ok: bool) -> str:
    """Why this address must not be opened, or an empty text.

    What other machines can reach needs senders that prove who they are, unless the user says otherwise.
    """
    if endpoint.is_local or authenticates or insecure_ok:
        return ""
    return (
        f"{endpoint} can be reached from other machines and nothing checks who sends: "
        "listen on 127.0.0.1, set tls.client_ca_file, or accept the risk with insecure_ok: true"
    )


def check_exposure(endpoint: Endpoint, *, authenticates: bool, insecure_ok: bool) -> None:
    """For validators of options: raises ValueError where there is an `exposure_problem`."""
    problem = exposure_problem(endpoint, authenticates=authenticates, insecure_ok=insecure_ok)
    if problem:
        raise ValueError(problem)


def _bind_tcp(endpoint: Endpoint) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except OSError as error:
        raise BindError(f"cannot listen on {endpoint}: the host name is unknown ({error.strerror})") from error
    bound: list[socket.socket] = []
    absent: OSError | None = None
    port = endpoint.port
    for family, *_rest, address in dict.fromkeys(found):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], port, *address[2:]))
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRNOTAVAIL:
                absent = error  # a name may stand for addresses that this machine has not, such as ::1
                continue
            for other in bound:
                other.close()
            raise BindError(f"cannot listen on {endpoint}: {_reason(error)}") from error
        bound.append(listener)
        port = listener.getsockname()[1]
    if not bound and absent is not None:
        raise BindError(f"cannot listen on {endpoint}: this machine has no such address") from absent
    return bound


def _bind_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
        listener.bind(path)
        os.chmod(path, 0o660)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise BindError(f"cannot listen on unix:{path}: {error.strerror}") from error
    return listener


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "not allowed (ports below 1024 need rights that this user lacks)"
    hint = " (another process listens there; choose another port or stop it)" if error.errno == errno.EADDRINUSE else ""
    return f"{(error.strerror or str(error)).lower()}{hint}"
