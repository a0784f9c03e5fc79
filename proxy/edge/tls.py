"""TLS contexts that are made of files, and follow them.

Whoever has a ``Tls`` takes its ``context`` for every new connection and never keeps it,
for ``reload`` makes it anew when a file has changed; a listener, which has to keep one,
asks ``for_listener``. Files that cannot be used change
nothing, so a certificate that is half written is no outage. What of a private key is
wrong is never told beyond the name of its file.

TLS 1.2 is the oldest version either side speaks. Versions, ciphers and groups are
OpenSSL's choice, which is kept better than a list of ours would be.
"""

import os
import pathlib
import ssl
from collections.abc import Callable

from cryptography import x509

from proxy.core.backends import Verify
from proxy.core.listeners import ListenerTls

_PROTOCOLS = ["http/1.1"]


class TlsError(Exception):
    """A file of a certificate, key or authority cannot be used; one line for people."""


class Tls:
    """One context, and the files that it is made of.

    Args:
        make: returns a new context, or raises TlsError.
        files: paths that ``make`` reads; a change of one makes the context anew.
        certificate: the one of them with the own certificate; None for none.

    Attributes:
        context: for connections that begin now.
        expires_at: when the own certificate expires, in epoch seconds; None without.

    Raises:
        TlsError: a file cannot be used.
    """

    def __init__(
        self,
        make: Callable[[], ssl.SSLContext],
        files: tuple[str, ...],
        certificate: str | None = None,
    ) -> None:
        self._make = make
        self._files = files
        self._certificate = certificate
        self._state = _state_of(files)
        self.context = make()
        self.expires_at = _expiry_of(certificate)

    def reload(self, *, force: bool = False) -> bool:
        """Make the context anew if a file is another than before.

        Args:
            force: whether to do it even so.

        Returns:
            whether ``context`` is a new one.

        Raises:
            TlsError: a file cannot be used; the context stays, until it is tried again
                when a file changes once more.
        """
        state = _state_of(self._files)
        if state == self._state and not force:
            return False
        self._state = state
        self.context = self._make()
        self.expires_at = _expiry_of(self._certificate)
        return True

    def for_listener(self) -> ssl.SSLContext:
        """Return a context that a listener can keep.

        It hands every handshake over to the one that is current then.
        """
        listening = self._make()

        def take_current(
            handshake: ssl.SSLObject | ssl.SSLSocket,
            _name: str | None,
            _context: ssl.SSLContext,
        ) -> None:
            handshake.context = self.context

        # Called for clients that name no server, too.
        listening.sni_callback = take_current
        return listening


def context_for_client(
    *,
    ca: str | None = None,
    certificate: str | None = None,
    key: str | None = None,
    verify: Verify = Verify.FULL,
) -> Tls:
    """Return the context of connections to servers.

    Args:
        ca: the file with the authorities that are trusted; None for the system's.
        certificate: the file with the own chain, for servers that ask for one.
        key: the file with its private key; None when ``certificate`` has it.
        verify: what of the server's certificate is checked.

    Raises:
        TlsError: a file cannot be used.
    """

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(_PROTOCOLS)
        context.check_hostname = verify is Verify.FULL
        if verify is Verify.NONE:
            context.verify_mode = ssl.CERT_NONE
        elif ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            _load_authorities(context, ca)
        if certificate is not None:
            _load_certificate(context, certificate, key)
        return context

    files = tuple(one for one in (ca, certificate, key) if one is not None)
    return Tls(make, files, certificate)


def context_for_server(
    *,
    certificate: str,
    key: str | None = None,
    client_ca: str | None = None,
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> Tls:
    """Return the context of connections from clients; see ``Tls.for_listener``.

    Args:
        certificate: the file with the own chain.
        key: the file with its private key; None when ``certificate`` has it.
        client_ca: the file with the authorities of clients, who then have to have a
            certificate; None asks for none.
        oldest: the oldest version that is spoken, TLS 1.2 or later.

    Raises:
        TlsError: a file cannot be used.
    """

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = max(oldest, ssl.TLSVersion.TLSv1_2)
        context.set_alpn_protocols(_PROTOCOLS)
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            _load_authorities(context, client_ca)
        _load_certificate(context, certificate, key)
        return context

    files = tuple(one for one in (certificate, key, client_ca) if one is not None)
    return Tls(make, files, certificate)


def tls_of(told: ListenerTls) -> Tls:
    """Return the context of a listener's connections.

    Raises:
        TlsError: a file cannot be used.
    """
    return context_for_server(
        certificate=told.certificate,
        key=told.key,
        oldest=ssl.TLSVersion.TLSv1_2 if told.tls_1_2 else ssl.TLSVersion.TLSv1_3,
    )


def _load_authorities(context: ssl.SSLContext, ca: str) -> None:
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError:
        raise TlsError(f"{ca}: there is no certificate in PEM in it") from None
    except OSError as error:
        raise TlsError(f"{ca}: {error.strerror}") from None


def _load_certificate(
    context: ssl.SSLContext, certificate: str, key: str | None
) -> None:
    for file in (certificate, key):
        if file is not None and not os.access(file, os.R_OK):
            raise TlsError(f"{file}: it is not there, or cannot be read")
    try:
        # An encrypted key would make OpenSSL ask the terminal for its password.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, OSError):
        beside = "" if key is None else f" and {key}"
        raise TlsError(
            f"{certificate}{beside}: they are not a certificate in PEM and its private "
            "key, unencrypted"
        ) from None


def _expiry_of(certificate: str | None) -> float | None:
    if certificate is None:
        return None
    pem = pathlib.Path(certificate).read_bytes()
    leaf = x509.load_pem_x509_certificates(pem)[0]
    return leaf.not_valid_after_utc.timestamp()


def _state_of(files: tuple[str, ...]) -> tuple[tuple[int, int, int], ...]:
    """Return what changes when a file, or the link that leads to it, does."""
    state = []
    for file in files:
        try:
            stat = pathlib.Path(file).stat()
        except OSError:
            state.append((0, 0, 0))
        else:
            state.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
    return tuple(state)
