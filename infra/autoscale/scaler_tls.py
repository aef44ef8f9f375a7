"""TLS of `headrace scaler`: its certificate, and the authority whose clients alone it answers.

Files are read again when one of them changed, so a renewed certificate is served without a restart.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from topology.errors import Misconfigured

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tls:
    """PEM files. `client_ca`: callers must show a certificate signed by one of these; None: any caller is answered."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(cls, cert: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
        """None where nothing is given. Raises: Misconfigured where only a part is, or a file is wrong."""
        if cert is None and key is None and client_ca is None:
            return None
        if cert is None or key is None:
            raise Misconfigured("--tls-cert and --tls-key belong together, and --tls-client-ca needs both")
        found = cls(cert, key, client_ca)
        found.check()
        return found

    def check(self) -> None:
        """Raises: Misconfigured where a file cannot be read, or the key is not the certificate's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        what = f"{self.cert}, {self.key}"
        try:
            context.load_cert_chain(self.cert, self.key, password="")  # a locked key is refused, nobody is asked
            if self.client_ca is not None:
                what = str(self.client_ca)
                context.load_verify_locations(self.client_ca)
        except OSError as error:  # an SSLError is one
            raise Misconfigured(f"TLS files of the scaler: {what}: {error}") from error

    def credentials(self) -> grpc.ServerCredentials:
        """For a server's port."""
        served = _Served(self)
        return grpc.dynamic_ssl_server_credentials(
            served.configuration, served.renewed, require_client_authentication=self.client_ca is not None
        )


class _Served:
    """What is served now. gRPC asks for something newer at each handshake."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._stamps = self._read_stamps()
        self.configuration = self._read()

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """None where nothing has changed, or what is there cannot be served: then the former goes on."""
        try:
            stamps = self._read_stamps()
            if stamps == self._stamps:
                return None
            self._tls.check()
            self.configuration, self._stamps = self._read(), stamps
        except (OSError, Misconfigured) as error:  # as between the writing of two files
            log.warning("the former certificate is served on: %s", error)
            return None
        log.info("a renewed certificate is served: %s", self._tls.cert)
        return self.configuration

    def _read_stamps(self) -> list[tuple[int, int]]:
        files = filter(None, (self._tls.cert, self._tls.key, self._tls.client_ca))
        return [(one.stat().st_mtime_ns, one.stat().st_ino) for one in files]

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pair = [(self._tls.key.read_bytes(), self._tls.cert.read_bytes())]
        authorities = None if self._tls.client_ca is None else self._tls.client_ca.read_bytes()
        return grpc.ssl_server_certificate_configuration(pair, root_certificates=authorities)
