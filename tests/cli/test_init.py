"""``lumina-proxy init``: what it writes is strong, private, and fits what reads it."""

import asyncio
import json
import re
import stat
import urllib.parse
from collections import Counter
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result
from cryptography import x509

from proxy.__main__ import main
from proxy.core.authn import VerificationKey
from proxy.core.keyset import Keyset
from proxy.edge.redis_store import RedisStore
from tests.documents import text_of
from tests.ports import free_port
from tests.redis_server import RedisServer

DOMAIN = "lms.example.test"
SHARED = {"redis_password": "redis_url", "postgres_lms_password": "database_url"}
"""One secret in two files: whoever needs it reads it in one form or the other."""

CALLS = re.findall(
    r"redis\.call\('(\w+)'",
    text_of("proxy/edge/take.lua") + text_of("proxy/edge/heartbeat.py"),
)
TAKING = (
    "redis.call('TIME') redis.call('MGET', KEYS[1]) "
    "redis.call('SET', KEYS[1], '1', 'PX', 1000) redis.call('DEL', KEYS[1]) "
    "redis.call('ZADD', KEYS[1], 1, 'a') redis.call('PEXPIRE', KEYS[1], 1000) "
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', 0) "
    "redis.call('ZCOUNT', KEYS[1], 0, 1) redis.call('ZREM', KEYS[1], 'a') "
    "redis.call('EXPIRE', KEYS[1], 10) redis.call('ZCARD', KEYS[1]) "
    "return redis.status_reply('OK')"
)
"""Everything that the scripts call."""


def written(folder: Path, *flags: str) -> Result:
    """Run the command for a folder."""
    arguments = ["init", "production", "--domain", DOMAIN, "--folder", str(folder)]
    return CliRunner().invoke(main, [*arguments, *flags])


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """The folder of secrets that the command wrote."""
    assert written(tmp_path).exit_code == 0
    return tmp_path / "secrets"


def test_the_folder_is_its_owners_alone(room: Path) -> None:
    """Only the owner enters; containers read the files that are mounted for them."""
    modes = {stat.S_IMODE(path.stat().st_mode) for path in room.iterdir()}

    assert stat.S_IMODE(room.stat().st_mode) == 0o700
    assert modes == {0o444}
    assert stat.S_IMODE((room.parent / ".env").stat().st_mode) == 0o600
    assert f"DOMAIN={DOMAIN}\n" in (room.parent / ".env").read_text()


def test_each_secret_is_strong_and_its_own(room: Path, tmp_path: Path) -> None:
    """Two runs share nothing, and no two secrets of one run are the same."""
    (tmp_path / "other").mkdir()
    assert written(tmp_path / "other").exit_code == 0
    other = tmp_path / "other" / "secrets"
    single = [
        path.name
        for path in room.iterdir()
        if path.name.endswith(("secret", "token", "password", "key"))
    ]
    texts = [(room / name).read_text().strip() for name in single]
    same = {"edge_targets"}
    files = {path.name for path in room.iterdir() if path.stat().st_size} - same

    assert len(single) >= 10
    assert min(len(text) for text in texts) >= 43  # 256 bits in base64
    assert Counter(texts).most_common(1)[0][1] == 1
    for name in files:
        assert (room / name).read_bytes() != (other / name).read_bytes(), name


def test_what_reads_them_accepts_them(room: Path) -> None:
    """The proxy's keys load, and each URL has the password that its server asks for."""
    text = {path.name: path.read_text().strip() for path in room.iterdir()}

    assert Keyset.from_text(text["encryption_key"]).key_ids
    assert VerificationKey.load(text["jwt_secret"], ("HS256",)).kid is None
    for password, url in SHARED.items():
        assert urllib.parse.urlsplit(text[url]).password == text[password]
    assert f'"lms" "{text["postgres_lms_password"]}"' in text["pgbouncer_userlist"]
    assert list(json.loads(text["redis_exporter_passwords"])) == [
        "rediss://exporter@redis:6379"
    ]


def test_nothing_secret_is_printed(tmp_path: Path) -> None:
    """The terminal is told what was done and what is left to do, and no secret."""
    done = written(tmp_path)
    words = {
        word
        for path in (tmp_path / "secrets").iterdir()
        for word in path.read_text().split()
        if len(word) > 15 and DOMAIN not in word
    }

    assert "encryption_key" in done.output
    assert [word for word in words if word in done.output] == []


@pytest.mark.parametrize("name", [".env", "secrets"])
def test_nothing_is_written_over(name: str, tmp_path: Path) -> None:
    """Where one of them is already, it stays, and the other is not made."""
    (tmp_path / name).mkdir()

    done = written(tmp_path)

    assert done.exit_code == 1
    assert "is there already" in done.output
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "domain", ["", "localhost", "a b.example", "a.example/x", "-a.example", "a..b"]
)
def test_a_domain_that_is_none_is_refused(domain: str, tmp_path: Path) -> None:
    """What can be no host name is wrong usage, and nothing is written."""
    arguments = ["init", "production", "--domain", domain, "--folder", str(tmp_path)]

    done = CliRunner().invoke(main, arguments)

    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_secret_of_the_lms_is_taken_over(tmp_path: Path) -> None:
    """An LMS that signs already keeps its secret, if it is long enough to be one."""
    (tmp_path / "theirs").write_text("the secret of an LMS that nobody may change\n")
    (tmp_path / "short").write_text("short")

    refused = written(tmp_path, "--jwt-secret-file", str(tmp_path / "short"))
    taken = written(tmp_path, "--jwt-secret-file", str(tmp_path / "theirs"), "--json")
    paths = json.loads(taken.output)["written"]

    assert (refused.exit_code, "short: " in refused.output) == (1, True)
    assert (tmp_path / "secrets" / "jwt_secret").read_text() == (
        tmp_path / "theirs"
    ).read_text()
    assert str(tmp_path / "secrets" / "redis_acl") in paths


def test_the_redis_certificate_is_for_its_names_alone(room: Path) -> None:
    """It is for the services of the compose file, and can sign nothing itself."""
    leaf = x509.load_pem_x509_certificate((room / "redis_certificate").read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert set(names.get_values_for_type(x509.DNSName)) == {
        *("redis", "localhost"),
        *(f"redis-{number}" for number in range(1, 7)),
    }
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.BasicConstraints)


@pytest.fixture
def guarded(room: Path, tmp_path: Path) -> RedisServer:
    """A Redis with the TLS, users and rights that were written; not started yet."""
    password = (room / "redis_admin_password").read_text().strip()
    port = free_port()
    server = RedisServer(
        tmp_path,
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(room / "redis_certificate")),
        *("--tls-key-file", str(room / "redis_key")),
        *("--tls-ca-cert-file", str(room / "redis_ca")),
        *("--aclfile", str(room / "redis_acl")),
        url=f"rediss://admin:{password}@localhost:{port}?ssl_ca_certs={room}/redis_ca",
    )
    server.tls_port = port  # type: ignore[attr-defined]
    return server


def test_each_user_of_redis_may_do_its_job_and_no_more(
    room: Path, guarded: RedisServer
) -> None:
    """The proxy takes tokens, the exporter looks, and nobody else gets in."""
    port = guarded.tls_port  # type: ignore[attr-defined]
    local = f"localhost:{port}/0?ssl_ca_certs={room}/redis_ca"
    url = (room / "redis_url").read_text().strip()
    store = RedisStore(
        url.partition("@")[0] + "@" + local, lambda: 1_800_000_000_000_000
    )

    async def opened() -> str:
        await store.open()
        state = store.state
        await store.close()
        return state

    def asks(user: str, password: str, *words: str) -> object:
        address = f"rediss://{user}:{password}@{local}"
        with redis.Redis.from_url(address) as client:
            return client.execute_command(*words)

    def taken(*arguments: str) -> object:
        return asks("lumina", lumina_password, "EVAL", TAKING, *arguments)

    exporter = json.loads((room / "redis_exporter_passwords").read_text())
    exporter_password = next(iter(exporter.values()))
    lumina_password = (room / "redis_password").read_text().strip()
    guarded.start()
    try:
        assert asyncio.run(opened()) == "ok"
        assert taken("2", "lb:a", "lb:b") == b"OK"
        assert asks("exporter", exporter_password, "INFO", "server")
        for user, password, *words in (
            ("exporter", exporter_password, "GET", "x"),
            ("exporter", exporter_password, "KEYS", "*"),
            ("lumina", lumina_password, "FLUSHALL"),
            ("lumina", lumina_password, "CONFIG", "GET", "*"),
            ("lumina", lumina_password, "KEYS", "*"),
            ("lumina", lumina_password, "MGET", "another's"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                asks(user, password, *words)
        for user, password in (("default", ""), ("lumina", "guess")):
            with pytest.raises(redis.exceptions.AuthenticationError):
                asks(user, password, "PING")
    finally:
        guarded.kill()
    assert set(CALLS) == set(re.findall(r"redis\.call\('(\w+)'", TAKING))
