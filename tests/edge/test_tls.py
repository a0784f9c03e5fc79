"""TLS contexts and their files, in real handshakes over loopback."""

import asyncio
import contextlib
import datetime as dt
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.core.backends import Verify
from proxy.edge.tls import Tls, TlsError, context_for_client, context_for_server
from tests.certificates import Authority

HOST = "lms.test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority of this test's own."""
    return Authority(tmp_path / "good")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """An authority that nobody trusts."""
    return Authority(tmp_path / "bad", "stranger")


def copy(source: str, target: str) -> None:
    """Write a file over another."""
    Path(target).write_bytes(Path(source).read_bytes())


@contextlib.asynccontextmanager
async def listening(tls: Tls) -> AsyncIterator[int]:
    """Run a server that says hello; yield its port."""

    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0, ssl=tls.for_listener())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def serial_of(port: int, tls: Tls, name: str | None = HOST) -> object:
    """Shake hands; return the serial number of the server's certificate.

    A refused client certificate shows at the first read only (TLS 1.3).
    """
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls.context, server_hostname=name or ""
    )
    try:
        if await reader.read() != b"hello":
            raise ConnectionError
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        der = writer.get_extra_info("ssl_object").getpeercert(True)
        return hash(der)
    finally:
        writer.close()


async def test_both_sides_prove_who_they_are(authority: Authority) -> None:
    """With certificates of one authority, server and client believe each other."""
    certificate, key = authority.sign(HOST)
    mine, my_key = authority.sign("proxy")
    server = context_for_server(
        certificate=certificate, key=key, client_ca=authority.file
    )
    client = context_for_client(ca=authority.file, certificate=mine, key=my_key)
    async with listening(server) as port:
        assert await serial_of(port, client)


@pytest.mark.parametrize("case", ["authority", "name", "no certificate", "theirs"])
async def test_whoever_does_not_is_refused(
    case: str, authority: Authority, stranger: Authority
) -> None:
    """A wrong authority or name ends the handshake, on either side."""
    certificate, key = authority.sign("other.test" if case == "name" else HOST)
    mine, my_key = (stranger if case == "theirs" else authority).sign("proxy")
    server = context_for_server(
        certificate=certificate, key=key, client_ca=authority.file
    )
    client = context_for_client(
        ca=(stranger if case == "authority" else authority).file,
        certificate=None if case == "no certificate" else mine,
        key=None if case == "no certificate" else my_key,
    )
    async with listening(server) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await serial_of(port, client)


@pytest.mark.parametrize(
    ("verify", "trusted", "named", "believed"),
    [
        (Verify.FULL, True, False, False),
        (Verify.CHAIN, True, False, True),
        (Verify.CHAIN, False, True, False),
        (Verify.NONE, False, False, True),
    ],
    ids=["full", "chain", "chain of a stranger", "none"],
)
async def test_what_is_checked_is_what_was_asked_for(
    authority: Authority,
    stranger: Authority,
    *,
    verify: Verify,
    trusted: bool,
    named: bool,
    believed: bool,
) -> None:
    """Chain leaves the name out, none everything."""
    signer = authority if trusted else stranger
    certificate, key = signer.sign(HOST if named else "other.test")
    client = context_for_client(ca=authority.file, verify=verify)
    async with listening(context_for_server(certificate=certificate, key=key)) as port:
        expectation = (
            contextlib.nullcontext() if believed else pytest.raises(ssl.SSLError)
        )
        with expectation:
            assert await serial_of(port, client)


async def test_the_systems_authorities_do_not_know_ours(authority: Authority) -> None:
    """Without a file of authorities the system's are trusted, and no others."""
    certificate, key = authority.sign(HOST)
    async with listening(context_for_server(certificate=certificate, key=key)) as port:
        with pytest.raises(ssl.SSLError):
            await serial_of(port, context_for_client())


@pytest.mark.parametrize("name", [HOST, None], ids=["with a name", "without"])
async def test_new_certificate_is_used_without_a_new_listener(
    authority: Authority, name: str | None
) -> None:
    """A listener that goes on shows whoever connects next the new certificate."""
    certificate, key = authority.sign(HOST)
    server = context_for_server(certificate=certificate, key=key)
    client = context_for_client(ca=authority.file, verify=Verify.CHAIN)
    async with listening(server) as port:
        before = await serial_of(port, client, name)
        assert not server.reload()
        authority.sign(HOST)
        assert server.reload()

        assert await serial_of(port, client, name) != before


async def test_clients_of_an_authority_that_is_gone_are_refused(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    """A listener forgets the authorities of clients that its file no longer has."""
    certificate, key = authority.sign(HOST)
    trusted = str(tmp_path / "clients.pem")
    copy(stranger.file, trusted)
    mine, my_key = stranger.sign("proxy")
    server = context_for_server(certificate=certificate, key=key, client_ca=trusted)
    client = context_for_client(ca=authority.file, certificate=mine, key=my_key)
    async with listening(server) as port:
        assert await serial_of(port, client)
        copy(authority.file, trusted)
        assert server.reload()

        with pytest.raises((ssl.SSLError, ConnectionError)):
            await serial_of(port, client)


async def test_files_that_cannot_be_used_change_nothing(authority: Authority) -> None:
    """Half a new certificate is refused, and the old one stays until it is whole."""
    certificate, key = authority.sign(HOST)
    server = context_for_server(certificate=certificate, key=key)
    client = context_for_client(ca=authority.file)
    fresh, fresh_key = authority.sign(HOST, into="fresh")
    async with listening(server) as port:
        before = await serial_of(port, client)
        copy(fresh, certificate)
        with pytest.raises(TlsError, match="private key"):
            server.reload()
        assert not server.reload()
        assert await serial_of(port, client) == before
        copy(fresh_key, key)
        assert server.reload()

        assert await serial_of(port, client) != before


def test_reload_can_be_forced(authority: Authority) -> None:
    """A signal makes the context anew even where no file looks another."""
    client = context_for_client(ca=authority.file)
    before = client.context

    assert client.reload(force=True)
    assert client.context is not before


def test_a_file_that_is_gone_is_noticed(authority: Authority) -> None:
    """A file that vanishes is a change, and one that cannot be used."""
    certificate, key = authority.sign("proxy")
    client = context_for_client(certificate=certificate, key=key)
    Path(key).unlink()

    with pytest.raises(TlsError, match=r"proxy\.key: it is not there"):
        client.reload()


@pytest.mark.parametrize("what", ["missing", "garbage", "encrypted", "another"])
def test_what_cannot_be_used_is_named(
    what: str, authority: Authority, stranger: Authority
) -> None:
    """The message has the file's name, asks no terminal, and holds nothing of a key."""
    certificate, key = authority.sign("proxy")
    if what == "missing":
        Path(key).unlink()
    elif what == "garbage":
        Path(key).write_text("-----BEGIN SECRET-----\n")
    elif what == "another":
        Path(key).write_bytes(Path(stranger.sign("x")[1]).read_bytes())
    else:
        secret = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
        Path(key).write_bytes(secret)

    with pytest.raises(TlsError, match=r"proxy\.key") as refused:
        context_for_client(certificate=certificate, key=key)
    assert "BEGIN" not in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_authorities_have_to_be_there(tmp_path: Path, content: bytes | None) -> None:
    """A missing or empty file of authorities trusts nobody, and says so at once."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(TlsError, match=r"ca\.pem"):
        context_for_client(ca=str(file))


def test_old_versions_are_not_spoken(authority: Authority) -> None:
    """TLS 1.2 is the oldest version, whatever is asked for."""
    certificate, key = authority.sign(HOST)
    server = context_for_server(
        certificate=certificate, key=key, oldest=ssl.TLSVersion.TLSv1
    )

    assert server.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context_for_client().context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_when_a_certificate_expires_is_known(authority: Authority) -> None:
    """The end of the own certificate is told, and None where there is none."""
    certificate, key = authority.sign("proxy", life=dt.timedelta(hours=1))
    client = context_for_client(certificate=certificate, key=key)
    assert client.expires_at is not None
    assert abs(client.expires_at - time.time() - 3600) < 60
    authority.sign("proxy", life=dt.timedelta(hours=2))
    client.reload()

    assert abs(client.expires_at - time.time() - 7200) < 60
    assert context_for_client().expires_at is None
