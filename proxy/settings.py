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

_ADDRESS = re.compile(
    r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5})"
)
_SERVER = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?"
_REDIS = re.compile(
    rf"(?:rediss?://(?:[^/@]*@)?{_SERVER}(?:/[0-9]*)?"
    rf"|rediss?\+sentinel://(?:[^/@]*@)?{_SERVER}(?:,{_SERVER})*/[^/?]+(?:/[0-9]+)?"
    rf"|rediss?\+cluster://(?:[^/@]*@)?{_SERVER}(?:,{_SERVER})*/?"
    r"|unix://(?:[^/@]*@)?/[^?]+)(?:\?.*)?"
)
_MAX_PORT = 65_535


class SettingsError(Exception):
    """A setting is missing or wrong.

    Args:
        problems: one sentence each, naming the variable; never a secret's value.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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
class Address:
    """A host and a port to listen on; port 0 is any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``host:port``, ``[v6]:port`` or ``:port`` (every IPv4 interface).

        Raises:
            ValueError: it is something else.
        """
        parts = _ADDRESS.fullmatch(text)
        if parts is None or int(parts["port"]) > _MAX_PORT:
            raise ValueError("host:port was expected")
        host = parts["host"] or "0.0.0.0"  # noqa: S104 - asked for
        if parts["v6"]:
            host = str(ipaddress.IPv6Address(parts["v6"]))
        return cls(host=host, port=int(parts["port"]))

    def __str__(self) -> str:
        """Format as ``parse`` reads it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that ``serve`` is told.

    Attributes:
        listen: the data port.
        metrics_listen: the metrics port; loopback unless told otherwise.
        policy: the file or folder of the policy.
        redis_url: where the buckets are; None keeps them in this process.
        encryption_key: as ``Keyset.from_text`` reads it.
        metrics_token: what the metrics port asks for; None asks for nothing.
        trusted_proxies: networks whose X-Forwarded-* are believed.
        drain_grace: seconds between "not ready" and the first closed connection.
        drain_timeout: seconds that open exchanges get to finish.
    """

    listen: Address
    metrics_listen: Address
    policy: pathlib.Path
    encryption_key: str = dataclasses.field(repr=False)
    redis_url: str | None = dataclasses.field(default=None, repr=False)
    metrics_token: str | None = dataclasses.field(default=None, repr=False)
    trusted_proxies: tuple[Network, ...] = ()
    drain_grace: float = 5.0
    drain_timeout: float = 30.0

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings, and say everything that is wrong with them at once.

        Raises:
            SettingsError: with one sentence per problem.
        """
        reader = _Reader(environment)
        settings = cls(
            listen=reader.address("LISTEN", "127.0.0.1:8080"),
            metrics_listen=reader.address("METRICS_LISTEN", "127.0.0.1:8000"),
            policy=pathlib.Path(reader.text("POLICY") or "policies"),
            encryption_key=reader.required(
                "ENCRYPTION_KEY",
                "32 bytes in URL-safe base64; lost keys mean lost data, so none is "
                "made for you",
            ),
            redis_url=reader.redis_url("REDIS_URL"),
            metrics_token=reader.text("METRICS_TOKEN") or None,
            trusted_proxies=reader.networks("TRUSTED_PROXIES"),
            drain_grace=reader.seconds("DRAIN_GRACE", 5.0),
            drain_timeout=reader.seconds("DRAIN_TIMEOUT", 30.0),
        )
        if reader.text("WORKERS") not in ("", "1"):
            reader.problems.append("WORKERS: only 1 is supported in this version.")
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

    def required(self, name: str, what: str) -> str:
        value = self.text(name)
        if not value and not self._environment.get(f"{name}_FILE"):
            self.problems.append(f"{name} or {name}_FILE must be set: {what}.")
        return value

    def address(self, name: str, default: str) -> Address:
        text = self.text(name) or default
        try:
            return Address.parse(text)
        except ValueError:
            self.problems.append(f"{name}: {text!r} is not host:port.")
            return Address.parse(default)

    def redis_url(self, name: str) -> str | None:
        """Return the URL; one without a host would mean this machine's Redis."""
        text = self.text(name)
        if text and not _REDIS.fullmatch(text):
            self.problems.append(
                f"{name} is not redis://host:port, rediss://host:port, unix:///path, "
                "redis+sentinel://host:port,…/name or redis+cluster://host:port,…."
            )
        return text or None

    def seconds(self, name: str, default: float) -> float:
        text = self.text(name)
        try:
            value = float(text) if text else default
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            self.problems.append(f"{name}: {text!r} is not a number of seconds.")
        return value

    def networks(self, name: str) -> tuple[Network, ...]:
        networks = []
        for text in self.text(name).replace(",", " ").split():
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
