"""What the process is told: every setting, each mistake in it, and no secret shown."""

import ipaddress
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.listeners import Address
from proxy.settings import Environment, Recorded, Settings, SettingsError

KEY = "a-key-that-nobody-may-see"
GOOD = {"ENCRYPTION_KEY": KEY}
SECRETS = ("ENCRYPTION_KEY", "METRICS_TOKEN", "REDIS_URL", "AUDIT_KEY")


def settings_of(**variables: str) -> Settings:
    """Read the settings of an environment that has a key, and these."""
    return Settings.read(Environment(GOOD | variables))


def problems_of(**variables: str) -> tuple[str, ...]:
    """Return what is wrong with an environment that has a key, and these."""
    with pytest.raises(SettingsError) as caught:
        settings_of(**variables)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_a_key_is_enough() -> None:
    """Everything else has a default: loopback, no Redis, nobody trusted."""
    assert settings_of() == Settings(
        listen=Address(host="127.0.0.1", port=8080),
        metrics_listen=Address(host="127.0.0.1", port=8000),
        policy=Path("policies"),
        encryption_key=KEY,
        redis_url=None,
        metrics_token=None,
        access_log="stdout",
        audit_log=None,
        audit_key="",
        log_format="auto",
        log_level="info",
        trusted_proxies=(),
        drain_grace=5.0,
        drain_timeout=30.0,
    )


def test_every_setting_is_read() -> None:
    """Each variable ends up in its field, as the type it is used as."""
    assert settings_of(
        LISTEN="0.0.0.0:80",
        METRICS_LISTEN="[::1]:0",
        POLICY="/etc/lumina",
        REDIS_URL="redis://h",
        METRICS_TOKEN="t",
        ACCESS_LOG="/var/log/access",
        AUDIT_LOG="/var/log/audit",
        AUDIT_KEY="a",
        LOG_FORMAT="json",
        LOG_LEVEL="error",
        TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.1 2001:db8::/32",
        DRAIN_GRACE="0",
        DRAIN_TIMEOUT="2.5",
        WORKERS="4",
        MAX_CONNECTIONS="500",
    ) == Settings(
        listen=Address(host="0.0.0.0", port=80),  # noqa: S104 - what was asked for
        metrics_listen=Address(host="::1", port=0),
        policy=Path("/etc/lumina"),
        encryption_key=KEY,
        redis_url="redis://h",
        metrics_token="t",
        access_log="/var/log/access",
        audit_log=Path("/var/log/audit"),
        audit_key="a",
        log_format="json",
        log_level="error",
        trusted_proxies=(
            ipaddress.ip_network("10.0.0.0/8"),
            ipaddress.ip_network("192.0.2.1/32"),
            ipaddress.ip_network("2001:db8::/32"),
        ),
        drain_grace=0.0,
        drain_timeout=2.5,
        workers=4,
        max_connections=500,
    )


@pytest.mark.parametrize(
    "name",
    [
        "LISTEN",
        "METRICS_LISTEN",
        "POLICY",
        "REDIS_URL",
        "METRICS_TOKEN",
        "ACCESS_LOG",
        "AUDIT_LOG",
        "AUDIT_KEY",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "TRUSTED_PROXIES",
        "DRAIN_GRACE",
        "DRAIN_TIMEOUT",
        "WORKERS",
        "MAX_CONNECTIONS",
    ],
)
def test_empty_is_not_set(name: str) -> None:
    """As Compose files and .env.example write what is not wanted."""
    assert settings_of(**{name: ""}) == settings_of()


@pytest.mark.parametrize("variables", [{}, {"ENCRYPTION_KEY": ""}])
def test_missing_key_is_a_refusal_that_says_why(variables: dict[str, str]) -> None:
    """No key is made up: what it encrypted would be lost."""
    with pytest.raises(SettingsError) as caught:
        Settings.read(Environment(variables))

    assert str(caught.value) == (
        "ENCRYPTION_KEY or ENCRYPTION_KEY_FILE must be set: 32 bytes in URL-safe "
        "base64; lost keys mean lost data, so none is made for you."
    )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("localhost:1", "localhost", 1),
        ("lms_proxy.example-1:65535", "lms_proxy.example-1", 65535),
        (":8080", "0.0.0.0", 8080),  # noqa: S104 - what was asked for
        ("0.0.0.0:0", "0.0.0.0", 0),  # noqa: S104 - what was asked for
        ("[::]:8080", "::", 8080),
        ("[2001:DB8:0::1]:8080", "2001:db8::1", 8080),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("[::ffff:192.0.2.1]:80", "::ffff:c000:201", 80),
    ],
)
def test_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    """IPv6 has brackets in the text and none in the value."""
    address = Address.parse(text)

    assert address == Address(host=host, port=port)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "8080",
        "localhost",
        "localhost:",
        ":",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+80",
        "127.0.0.1:8_0",
        "127.0.0.1:٨٠",
        "127.0.0.1: 80",
        " 127.0.0.1:80",
        "127.0.0.1:8\n0",
        "127.0.0.1:80\n",
        "127.0.0.1:80/",
        "127.0.0.1:80?a",
        "127.0.0.1:80?",
        "127.0.0.1:80#a",
        "127.0.0.1:80:80",
        "http://127.0.0.1:80",
        "ada@127.0.0.1:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[]:80",
        "[::1:80",
        "[127.0.0.1]:80",
        "[localhost]:80",
        "[::g]:80",
        "lms example:80",
        "lmś.example:80",
    ],
)
@pytest.mark.parametrize("name", ["LISTEN", "METRICS_LISTEN"])
def test_other_addresses_are_refused(name: str, text: str) -> None:
    """The variable and its text are named; nothing is guessed from it."""
    known = "host:port or unix:/path" if name == "LISTEN" else "host:port"

    assert problems_of(**{name: text}) == (f"{name}: {text!r} is not {known}.",)


def test_clients_may_connect_to_a_unix_socket() -> None:
    """Operators and Prometheus may not; peers there are believed if it is said."""
    settings = settings_of(
        LISTEN="unix:/run/lumina.sock", TRUSTED_PROXIES="unix: 10.0.0.0/8"
    )

    assert settings.listen == Address(path="/run/lumina.sock")
    assert str(settings.listen) == "unix:/run/lumina.sock"
    assert settings.trusts_unix
    assert settings.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"),)
    assert not settings_of().trusts_unix
    assert problems_of(METRICS_LISTEN="unix:/run/m.sock") == (
        "METRICS_LISTEN: 'unix:/run/m.sock' is not host:port.",
    )
    assert problems_of(LISTEN="unix:relative.sock") == (
        "LISTEN: 'unix:relative.sock' is not host:port or unix:/path.",
    )


@given(st.text(max_size=20))
def test_every_text_is_an_address_or_refused(text: str) -> None:
    """No other error, and what was read is written as it was."""
    try:
        address = Address.parse(text)
    except ValueError:
        return

    assert 0 <= address.port <= 65535
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0.0), ("2.5", 2.5), ("1e2", 100.0), (" 5 ", 5.0)]
)
@pytest.mark.parametrize("name", ["DRAIN_GRACE", "DRAIN_TIMEOUT"])
def test_seconds_are_numbers(name: str, text: str, seconds: float) -> None:
    """Whole or not."""
    assert getattr(settings_of(**{name: text}), name.lower()) == seconds


@pytest.mark.parametrize(
    "text", ["-1", "-0.1", "5s", "nan", "inf", "1e999", "x", "1,5"]
)
@pytest.mark.parametrize("name", ["DRAIN_GRACE", "DRAIN_TIMEOUT"])
def test_other_seconds_are_refused(name: str, text: str) -> None:
    """Negative and endless ones too."""
    assert problems_of(**{name: text}) == (
        f"{name}: {text!r} is not a number of seconds.",
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" , ", 0),
        ("10.0.0.0/8", 1),
        ("10.0.0.0/255.0.0.0", 1),
        ("10.0.0.0/8,192.0.2.1", 2),
        ("10.0.0.0/8\n192.0.2.1\t::1", 3),
        ("0.0.0.0/1", 1),
    ],
)
def test_networks_are_listed(text: str, count: int) -> None:
    """With commas, spaces or both; an address is a network of one."""
    assert len(settings_of(TRUSTED_PROXIES=text).trusted_proxies) == count


@pytest.mark.parametrize(
    "text",
    ["10.0.0.0/33", "10.0.0", "lb.example", "10.0.0.1/8", "::1/0x10", "10.0.0.0;"],
)
def test_other_networks_are_refused(text: str) -> None:
    """Names and bits beside the mask too: what is trusted must be meant."""
    [problem] = problems_of(TRUSTED_PROXIES=f"192.0.2.1 {text}")

    assert problem.startswith(f"TRUSTED_PROXIES: {text!r} is not a network: ")


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0"])
def test_everybody_is_no_proxy(text: str) -> None:
    """Trusting every address would let every client say who it is."""
    assert problems_of(TRUSTED_PROXIES=text) == (
        f"TRUSTED_PROXIES: {text!r} is every address; name your proxies' network.",
    )


@pytest.mark.parametrize(
    "text",
    [
        "redis://localhost",
        "redis://10.0.0.7:6379/2",
        "redis://user:hush@[::1]:6379/",
        "rediss://:hush@redis.example?ssl_cert_reqs=required",
        "unix:///run/redis.sock?db=1",
        "unix://user@/run/redis.sock",
        "redis+sentinel://a:26379,[::1]:26379,c/lumina",
        "rediss+sentinel://user:hush@a/lumina/2?sentinel_password=hush",
        "redis+cluster://10.0.0.7:6379,10.0.0.8:6379",
        "rediss+cluster://user:hush@a,b/?ssl_ca_certs=/run/ca.pem",
    ],
)
def test_redis_is_a_url(text: str) -> None:
    """Of one of three schemes, with a host or with the path of a socket."""
    assert settings_of(REDIS_URL=text).redis_url == text


@pytest.mark.parametrize(
    "text",
    [
        "hush",
        "hush:6379",
        "http://hush:6379",
        "redis://",
        "redis:/hush",
        "redis:///0",
        "redis://hush:port",
        "redis://hush:123456",
        "redis://hush/name",
        "redis://hush,hush",
        "redis+sentinel://hush",
        "redis+sentinel://hush,/name",
        "redis+cluster://hush/name",
        "redis+cluster://",
        "redis://[hush",
        "unix:/",
        "unix://run/hush.sock",
    ],
)
def test_other_places_of_redis_are_refused(text: str) -> None:
    """None of them falls back to this machine; the password in it is not shown."""
    [problem] = problems_of(REDIS_URL=text)

    assert problem == (
        "REDIS_URL is not redis://host:port, rediss://host:port, unix:///path, "
        "redis+sentinel://host:port,…/name or redis+cluster://host:port,…."
    )


@pytest.mark.parametrize("text", ["0", "257", "auto", "-1", "1.5", "1e9"])
def test_number_of_workers_is_one(text: str) -> None:
    """Rather than served by another number without a word."""
    assert problems_of(WORKERS=text) == (
        f"WORKERS: {text!r} is not a number from 1 to 256.",
    )


def test_no_audit_log_has_two_spellings() -> None:
    """Empty and none are the same."""
    assert settings_of(AUDIT_LOG="none") == settings_of()


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("LOG_FORMAT", "auto, json, text"),
        ("LOG_LEVEL", "info, debug, warning, error"),
    ],
)
def test_other_words_are_refused(name: str, known: str) -> None:
    """A misspelt word is none of the known ones, which are told."""
    assert problems_of(**{name: "loud"}) == (f"{name}: 'loud' is none of {known}.",)


def test_workers_without_redis_are_refused() -> None:
    """Each would count for itself: a limit of five would let ten pass."""
    [problem] = problems_of(WORKERS="2")

    assert problem == (
        "WORKERS: 2 processes without REDIS_URL would each keep limits of its own, "
        "and together let through as many times as much; set REDIS_URL, or WORKERS=1."
    )
    assert settings_of(WORKERS="1").workers == 1
    assert settings_of(WORKERS="2", REDIS_URL="redis://h").workers == 2


def test_environment_can_be_found_again_by_others(tmp_path: Path) -> None:
    """What was looked up is noted as it was found last; nothing else is."""
    file = tmp_path / "secret"
    file.write_text("old")
    values = {"A": "1", "B": "2", "S_FILE": str(file)}
    recorded = Recorded(Environment(values))
    assert [recorded.get(name) for name in ("A", "S", "C")] == ["1", "old", None]
    assert recorded.found == {"A": "1", "S": "old"}
    file.write_text("new")
    assert recorded["S"] == "new"
    assert recorded.found == {"A": "1", "S": "new"}
    file.unlink()
    assert "S" not in recorded

    assert recorded.found == {"A": "1"}
    assert dict(Environment(recorded.found)) == {"A": "1"}
    assert (list(recorded), len(recorded)) == (["A", "B", "S_FILE"], 3)
    assert "old" not in repr(recorded)


def test_all_problems_come_at_once() -> None:
    """In the order of the settings, a sentence each."""
    with pytest.raises(SettingsError) as caught:
        Settings.read(
            Environment(
                {
                    "LISTEN": "x",
                    "METRICS_LISTEN": "y",
                    "TRUSTED_PROXIES": "a ::/0 b",
                    "DRAIN_GRACE": "z",
                    "DRAIN_TIMEOUT": "-1",
                    "WORKERS": "2",
                }
            )
        )

    names = [problem.split(" ")[0].strip(":") for problem in caught.value.problems]
    assert names == [
        "LISTEN",
        "METRICS_LISTEN",
        "ENCRYPTION_KEY",
        *["TRUSTED_PROXIES"] * 3,
        "DRAIN_GRACE",
        "DRAIN_TIMEOUT",
        "WORKERS",
    ]


def test_no_secret_is_shown() -> None:
    """Neither a repr nor a problem has the value of a secret in it."""
    hidden = {name: f"redis://hush/{number}" for number, name in enumerate(SECRETS)}
    settings = settings_of(**hidden)

    assert "hush" not in repr(settings) + str(settings)
    assert settings.encryption_key == "redis://hush/0"
    assert "hush" not in "".join(problems_of(**hidden, LISTEN="x", WORKERS="9"))
    assert "hush" not in repr(Environment(hidden))


@pytest.mark.parametrize("name", SECRETS)
def test_a_file_holds_what_its_variable_does_not(tmp_path: Path, name: str) -> None:
    """NAME_FILE names it; white space around the content is not part of it."""
    file = tmp_path / "secret"
    file.write_text("\n  redis://:häßlich@h \n", encoding="utf-8")
    read = settings_of(**{name: "", f"{name}_FILE": str(file)})

    assert getattr(read, name.lower()) == "redis://:häßlich@h"


@pytest.mark.parametrize("name", SECRETS)
def test_a_variable_wins_over_its_file(tmp_path: Path, name: str) -> None:
    """Where both are set the file is not even looked at."""
    lost, value = str(tmp_path / "nothing-here"), "redis://h"
    both = settings_of(**{name: value, f"{name}_FILE": lost})

    assert both == settings_of(**{name: value})


def test_a_file_is_read_again_with_every_look(tmp_path: Path) -> None:
    """So that a reload sees a secret that was replaced."""
    file = tmp_path / "secret"
    file.write_text("old")
    environment = Environment({"JWT_SECRET_FILE": str(file)})
    assert environment["JWT_SECRET"] == "old"
    file.write_text("new")

    assert environment["JWT_SECRET"] == "new"


@pytest.mark.parametrize(
    "name", [*SECRETS, "LISTEN", "POLICY", "TRUSTED_PROXIES", "DRAIN_GRACE", "WORKERS"]
)
@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "blank", "binary"])
def test_a_file_that_says_nothing_is_refused(
    tmp_path: Path, name: str, kind: str
) -> None:
    """Not taken for "not set": an open metrics port or local limits were not meant."""
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        content = {"empty": b"", "blank": b" \n", "binary": b"\xff\xfe"}
        path.write_bytes(content[kind])
    variables = {name: "", f"{name}_FILE": str(path)}

    assert problems_of(**variables) == (
        f"{name}_FILE: {str(path)!r} is empty or cannot be read.",
    )


def test_a_path_that_cannot_be_one_is_refused() -> None:
    """A NUL in it is no traceback."""
    [problem] = problems_of(METRICS_TOKEN_FILE="a\0b")

    assert problem == r"METRICS_TOKEN_FILE: 'a\x00b' is empty or cannot be read."


def test_environment_lists_what_it_has(tmp_path: Path) -> None:
    """Names that are set, in a variable or a file, and no others."""
    file = tmp_path / "secret"
    file.write_text("s")
    environment = Environment(
        {
            "A": "a",
            "B_FILE": str(file),
            "C": "",
            "D_FILE": str(tmp_path / "nothing-here"),
        }
    )
    expected = {"A": "a", "B": "s", "B_FILE": str(file)}

    assert {
        name: value for name, value in environment.items() if name != "D_FILE"
    } == expected
    assert len(environment) == len(list(environment)) == 4
    assert "C" not in environment
    assert environment.get("D", "none") == "none"


def test_environment_of_this_process_is_one() -> None:
    """Every variable that has a value is found under its name."""
    environment = Environment(os.environ)

    assert {name: environment[name] for name in os.environ if os.environ[name]} == {
        name: value for name, value in os.environ.items() if value
    }
