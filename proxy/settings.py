"""Process settings: the only reader of the environment.

What the process is (addresses, files, secrets) is here; what requests may do is in
the policy. Nothing here has a side effect, and every error names its variable.
"""

import dataclasses
import ipaddress
import pathlib
import re
from collections.abc import Iterator, Mapping

from proxy.core.forwarding import Network
from proxy.core.listeners import Address

_SERVER = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?"
_REDIS = re.compile(
    rf"(?:rediss?://(?:[^/@]*@)?{_SERVER}(?:/[0-9]*)?"
    rf"|rediss?\+sentinel://(?:[^/@]*@)?{_SERVER}(?:,{_SERVER})*/[^/?]+(?:/[0-9]+)?"
    rf"|rediss?\+cluster://(?:[^/@]*@)?{_SERVER}(?:,{_SERVER})*/?"
    r"|unix://(?:[^/@]*@)?/[^?]+)(?:\?.*)?"
)
_MAX_WORKERS = 256
_UNIX = "unix:"
"""Among trusted proxies: whoever may connect to a unix socket of ours."""

STDOUT = "stdout"
NOWHERE = "none"
"""What ACCESS_LOG and AUDIT_LOG may say beside the name of a file."""


class SettingsError(Exception):
    """A setting is missing or wrong.

    Args:
        problems: one sentence each, naming the variable; never a secret's value.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Recorded(Mapping[str, str]):
    """An environment that remembers what was looked up, for others to find the same.

    Args:
        environment: where it is looked up.

    Attributes:
        found: name to value of everything that was found when last looked up.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.found: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        self.found.pop(name, None)
        value = self.found[name] = self._environment[name]
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._environment)

    def __len__(self) -> int:
        return len(self._environment)


class Environment(Mapping[str, str]):
    """The environment with files: NAME is NAME, or the content of the file NAME_FILE.

    What is empty counts as not set. A file is read again with every look.

    Raises:
        KeyError: neither is set, or the file is empty or cannot be read; NAME_FILE is
            set then.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value = self._environ.get(name)
        if value:
            return value
        path = self._environ.get(name + "_FILE")
        if not path:
            raise KeyError(name)
        try:
            value = pathlib.Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):  # no UTF-8, or no path at all
            value = ""
        if not value:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        names = self._environ.keys() | {
            key.removesuffix("_FILE") for key in self._environ
        }
        return (name for name in sorted(names) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that ``serve`` is told.

    Attributes:
        listen: the data port.
        metrics_listen: the metrics port; loopback unless told otherwise.
        policy: the file or folder of the policy.
        policy_state: the folder in which the last policies are kept for a rollback;
            None keeps none.
        learn: whether to note what passes, for `lumina-proxy learn`.
        policy_poll: seconds between two looks whether the policy has changed; 0 for
            none.
        redis_url: where the buckets are; None keeps them in this process.
        encryption_key: as ``Keyset.from_text`` reads it; "" where a keystore has keys.
        metrics_token: what the metrics port asks for; None asks for nothing.
        access_log: where requests are logged: ``stdout``, ``none`` or a file.
        audit_log: the file of security events; None leaves them to the ordinary log.
        audit_key: 32 bytes in URL-safe base64 that bind its lines; "" derives one from
            the encryption key.
        log_format: ``json``, ``text``, or ``auto``: text at a terminal.
        log_level: of the ordinary log: ``debug``, ``info``, ``warning`` or ``error``.
        trusted_proxies: networks whose X-Forwarded-* are believed.
        trusts_unix: whether peers at unix sockets are believed likewise.
        max_connections: of clients, at a time, in each process.
        drain_grace: seconds between "not ready" and the first closed connection.
        drain_timeout: seconds that open exchanges get to finish.
        workers: how many processes serve.
    """

    listen: Address
    metrics_listen: Address
    policy: pathlib.Path
    encryption_key: str = dataclasses.field(repr=False)
    redis_url: str | None = dataclasses.field(default=None, repr=False)
    metrics_token: str | None = dataclasses.field(default=None, repr=False)
    access_log: str = STDOUT
    audit_log: pathlib.Path | None = None
    audit_key: str = dataclasses.field(default="", repr=False)
    log_format: str = "auto"
    log_level: str = "info"
    trusted_proxies: tuple[Network, ...] = ()
    trusts_unix: bool = False
    max_connections: int = 20_000
    drain_grace: float = 5.0
    drain_timeout: float = 30.0
    workers: int = 1
    policy_state: pathlib.Path | None = None
    policy_poll: float = 2.0
    learn: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings, and say everything that is wrong with them at once.

        Raises:
            SettingsError: with one sentence per problem.
        """
        reader = _Reader(environment)
        trusted = reader.words("TRUSTED_PROXIES")
        settings = cls(
            listen=reader.address("LISTEN", "127.0.0.1:8080", unix=True),
            metrics_listen=reader.address("METRICS_LISTEN", "127.0.0.1:8000"),
            policy=pathlib.Path(reader.text("POLICY") or "policies"),
            encryption_key=reader.encryption_key(),
            redis_url=reader.redis_url("REDIS_URL"),
            metrics_token=reader.text("METRICS_TOKEN") or None,
            access_log=reader.text("ACCESS_LOG") or STDOUT,
            audit_log=reader.path("AUDIT_LOG"),
            audit_key=reader.text("AUDIT_KEY"),
            log_format=reader.word("LOG_FORMAT", ("auto", "json", "text")),
            log_level=reader.word("LOG_LEVEL", ("info", "debug", "warning", "error")),
            trusted_proxies=reader.networks("TRUSTED_PROXIES", trusted),
            trusts_unix=_UNIX in trusted,
            max_connections=reader.count("MAX_CONNECTIONS", 20_000, 1_000_000),
            drain_grace=reader.seconds("DRAIN_GRACE", 5.0),
            drain_timeout=reader.seconds("DRAIN_TIMEOUT", 30.0),
            workers=reader.count("WORKERS", 1, _MAX_WORKERS),
            policy_state=reader.folder("POLICY_STATE"),
            policy_poll=reader.seconds("POLICY_POLL", 2.0),
            learn=reader.switch("LEARN"),
        )
        if settings.workers > 1 and settings.redis_url is None:
            reader.problems.append(
                f"WORKERS: {settings.workers} processes without REDIS_URL would each "
                "keep limits of its own, and together let through as many times as "
                "much; set REDIS_URL, or WORKERS=1."
            )
        if reader.problems:
            raise SettingsError(tuple(reader.problems))
        return settings


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        """Return the value; "" when there is none."""
        value = self._environment.get(name)
        path = self._environment.get(f"{name}_FILE")
        if not value and path:
            # Not as if nothing was said: an open metrics port was not meant.
            self.problems.append(f"{name}_FILE: {path!r} is empty or cannot be read.")
        return value or ""

    def path(self, name: str) -> pathlib.Path | None:
        """Return the path; None where there is none, or it is ``none``."""
        text = self.text(name)
        return pathlib.Path(text) if text not in {"", NOWHERE} else None

    def word(self, name: str, known: tuple[str, ...]) -> str:
        """Return one of the known words, by default the first."""
        text = self.text(name) or known[0]
        if text not in known:
            self.problems.append(f"{name}: {text!r} is none of {', '.join(known)}.")
        return text

    def encryption_key(self) -> str:
        """Return ENCRYPTION_KEY; it must be set where no KEYSTORE has keys."""
        value, keystore = self.text("ENCRYPTION_KEY"), self.text("KEYSTORE")
        if not (value or keystore or self._environment.get("ENCRYPTION_KEY_FILE")):
            self.problems.append(
                "ENCRYPTION_KEY or ENCRYPTION_KEY_FILE must be set: 32 bytes in "
                "URL-safe base64; lost keys mean lost data, so none is made for you."
            )
        return value

    def address(self, name: str, default: str, *, unix: bool = False) -> Address:
        text = self.text(name) or default
        try:
            address = Address.parse(text)
        except ValueError:
            address = None
        if address is None or (address.path and not unix):
            or_path = " or unix:/path" if unix else ""
            self.problems.append(f"{name}: {text!r} is not host:port{or_path}.")
            return Address.parse(default)
        return address

    def redis_url(self, name: str) -> str | None:
        """Return the URL; one without a host would mean this machine's Redis."""
        text = self.text(name)
        if text and not _REDIS.fullmatch(text):
            self.problems.append(
                f"{name} is not redis://host:port, rediss://host:port, unix:///path, "
                "redis+sentinel://host:port,…/name or redis+cluster://host:port,…."
            )
        return text or None

    def switch(self, name: str) -> bool:
        text = self.text(name) or "off"
        if text not in ("on", "off"):
            self.problems.append(f"{name}: {text!r} is neither on nor off.")
        return text == "on"

    def folder(self, name: str) -> pathlib.Path | None:
        text = self.text(name)
        return pathlib.Path(text) if text else None

    def seconds(self, name: str, default: float) -> float:
        text = self.text(name)
        try:
            value = float(text) if text else default
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            self.problems.append(f"{name}: {text!r} is not a number of seconds.")
        return value

    def count(self, name: str, default: int, most: int) -> int:
        text = self.text(name)
        if not text:
            return default
        value = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
        if not 1 <= value <= most:
            self.problems.append(f"{name}: {text!r} is not a number from 1 to {most}.")
            return default
        return value

    def words(self, name: str) -> list[str]:
        return self.text(name).replace(",", " ").split()

    def networks(self, name: str, words: list[str]) -> tuple[Network, ...]:
        networks = []
        for text in words:
            if text == _UNIX:
                continue
            try:
                network = ipaddress.ip_network(text)
            except ValueError as error:
                self.problems.append(f"{name}: {text!r} is not a network: {error}.")
                continue
            if network.prefixlen == 0:
                self.problems.append(
                    f"{name}: {text!r} is every address; name your proxies' network."
                )
            networks.append(network)
        return tuple(networks)
