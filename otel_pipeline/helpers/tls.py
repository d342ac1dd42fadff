"""TLS options of clients and servers, under the Collector's keys."""

import ssl
from pathlib import Path
from typing import Literal, Self

import grpc
from pydantic import model_validator

from otel_pipeline.errors import ConfigError, Problem
from otel_pipeline.options import Options

__all__ = ["ClientTls", "ServerTls"]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class ClientTls(Options):
    """How a client proves its peer, and itself, in TLS."""

    insecure: bool = False
    """Speak in the clear. For HTTP the scheme of the endpoint decides instead."""
    insecure_skip_verify: bool = False
    """Do not check the peer's certificate: whoever sits between can read and change all. Not possible over gRPC."""
    ca_file: Path | None = None
    """PEM file of the authorities that may have signed the peer's certificate; without it, those of the system."""
    cert_file: Path | None = None
    """PEM file of our own certificate, for peers that ask for one (mutual TLS)."""
    key_file: Path | None = None
    """PEM file of the key of `cert_file`."""
    server_name_override: str = ""
    """The name that the peer's certificate must have, where it is not the host of the endpoint."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest TLS version to accept."""

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: set both or none")
        return self

    def ssl_context(self, path: str) -> ssl.SSLContext:
        """The context for HTTP clients. Raises ConfigError for files that cannot be used; `path` is where the options
        stand in the configuration."""
        if self.ca_file is not None:
            _read(self.ca_file, f"{path}::ca_file")
        if self.cert_file is not None and self.key_file is not None:
            _read(self.cert_file, f"{path}::cert_file")
            _read(self.key_file, f"{path}::key_file")
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except ssl.SSLError as error:
            reason = f"a certificate or key cannot be used: {error.reason or 'not PEM'}"
            raise ConfigError(
                [Problem(path, reason, "the files must be PEM, and the key that of the certificate")]
            ) from None
        context.minimum_version = _VERSIONS[self.min_version]
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def grpc_credentials(self, path: str) -> grpc.ChannelCredentials:
        """The credentials for gRPC channels. Raises ConfigError for files that cannot be read."""
        system_authorities = ssl.get_default_verify_paths().cafile
        authorities = self.ca_file or (Path(system_authorities) if system_authorities else None)
        return grpc.ssl_channel_credentials(
            root_certificates=_read(authorities, f"{path}::ca_file") if authorities else None,
            private_key=_read(self.key_file, f"{path}::key_file") if self.key_file else None,
            certificate_chain=_read(self.cert_file, f"{path}::cert_file") if self.cert_file else None,
        )


class ServerTls(Options):
    """How a server proves itself, and asks its clients to, in TLS."""

    cert_file: Path
    """PEM file of the server's certificate, with those of intermediate authorities after it."""
    key_file: Path
    """PEM file of the key of `cert_file`."""
    client_ca_file: Path | None = None
    """PEM file of the authorities that may have signed a client's certificate. With it, every client must have one
    (mutual TLS)."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest TLS version to accept. gRPC servers can only be set to 1.2, and prefer 1.3."""

    def ssl_context(self, path: str) -> ssl.SSLContext:
        """The context for HTTP servers. Raises ConfigError for files that cannot be used; `path` is where the options
        stand in the configuration."""
        self._read_all(path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = _VERSIONS[self.min_version]
        try:
            context.load_cert_chain(self.cert_file, self.key_file)
            if self.client_ca_file is not None:
                context.load_verify_locations(self.client_ca_file)
                context.verify_mode = ssl.CERT_REQUIRED
        except ssl.SSLError as error:
            reason = f"a certificate or key cannot be used: {error.reason or 'not PEM'}"
            hint = "the files must be PEM, and the key that of the certificate"
            raise ConfigError([Problem(path, reason, hint)]) from None
        return context

    def grpc_credentials(self, path: str) -> grpc.ServerCredentials:
        """The credentials for gRPC servers. Raises ConfigError as `ssl_context` does, because grpcio would not."""
        self.ssl_context(path)
        certificate, key, authorities = self._read_all(path)
        return grpc.ssl_server_credentials(
            [(key, certificate)], root_certificates=authorities, require_client_auth=authorities is not None
        )

    def _read_all(self, path: str) -> tuple[bytes, bytes, bytes | None]:
        return (
            _read(self.cert_file, f"{path}::cert_file"),
            _read(self.key_file, f"{path}::key_file"),
            _read(self.client_ca_file, f"{path}::client_ca_file") if self.client_ca_file else None,
        )


def _read(file: Path, path: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(path, f"cannot read {str(file)!r}: {error.strerror}")]) from None
