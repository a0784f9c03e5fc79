"""The services behind the proxy, as the policy has them: from nodes to frozen objects.

Nothing here opens a file: whether a certificate can be used is found when the process
starts or reloads (``edge.tls``).
"""

import ipaddress
import re

from proxy.core import policy_values as values
from proxy.core.backends import (
    Backend,
    BackendTls,
    Balance,
    Breaker,
    Ejection,
    HealthCheck,
    Server,
    Timeouts,
    Verify,
)
from proxy.core.policy_keys import (
    BACKEND,
    BACKEND_TLS,
    BREAKER,
    EJECT,
    HEALTH,
    RULE_TIMEOUTS,
    TIMEOUTS,
    required,
)
from proxy.core.policy_sections import Section, named, read_word
from proxy.core.policy_values import Report, refuse
from proxy.core.yaml_source import Node, Scalar

SERVER = re.compile(
    r"https?://(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*"
    r"[A-Za-z0-9])?)):(?P<port>[0-9]{1,5})|unix:(?P<path>/[!-~]{1,106})"
)
"""A path has room for 107 bytes in the system's address of a socket (unix(7))."""
HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
FILE = re.compile(r"/[^\x00-\x1f\x7f]+")
NO_EJECTION = "none"
RETRIES = ("safe", "never")
# RFC 1035 section 2.3.4; no resolver takes others.
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}").fullmatch


def read_backends(report: Report, section: Section) -> dict[str, Backend | None]:
    """Read the services behind the proxy."""
    return named(report, section, _backend)


def _backend(report: Report, name: str, node: Node) -> Backend | None:
    entries = report.entries(node, BACKEND, required(BACKEND))
    servers: dict[Server, None] = {}
    for item in report.items(entries.get("servers")):
        server = report.read(item, _server, None)
        if server in servers:
            report.error(item.at, "this server is listed twice")
        elif server:
            servers[server] = None
    usual = Balance.LEAST_OUTSTANDING
    balance = read_word(report, entries.get("balance"), "way to balance", usual)
    retry = report.read(
        entries.get("retry"), lambda n: values.choice(n, "kind of retry", RETRIES), ""
    )
    timeouts = _timeouts(report, entries.get("timeouts"))
    health = _health(report, entries.get("health"))
    ejection = _ejection(report, entries.get("eject"))
    breaker = _breaker(report, entries.get("breaker"))
    tls = _tls(report, entries.get("tls"))
    for key in ("balance", "eject"):
        if len(servers) == 1 and key in entries:
            report.warning(
                entries[key].at, f"with one server {key!r} makes no difference"
            )
    if servers and "tls" in entries and not any(one.tls for one in servers):
        hint = "write https://host:port"
        report.error(entries["tls"].at, "no server of this backend has https", hint)
    if not servers:
        return None
    return Backend(
        id=name,
        servers=tuple(servers),
        timeouts=timeouts,
        health=health,
        balance=balance or usual,
        ejection=ejection,
        breaker=breaker,
        retry=retry != "never",
        tls=tls,
    )


def _server(node: Node) -> Server:
    """Read an address. Never quoted: people write passwords into addresses."""
    text = values.string(node)
    match = SERVER.fullmatch(text)
    if not match:
        hint = "http://lms:9000, https://10.0.0.7:443, http://[::1]:9000 or unix:/path"
        raise refuse(node, "a server is http://host:port and nothing more", hint)
    if match["path"]:
        return Server(path=match["path"])
    host, port = match["six"] or match["host"], int(match["port"])
    if not 1 <= port <= 65_535:  # noqa: PLR2004 - RFC 9293 section 3.1: 16 bits
        raise refuse(node, "a port is a number from 1 to 65535")
    if match["six"] or re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise refuse(node, "this is not an IP address") from None
    elif not all(map(_LABEL, host.split("."))):
        what = "each part of a host's name has 1 to 63 characters"
        raise refuse(node, what, "look for two dots in a row")
    return Server(host=host, port=port, tls=text.startswith("https"))


def _timeouts(report: Report, node: Node | None) -> Timeouts:
    entries = report.entries(node, TIMEOUTS)
    usual = Timeouts()

    def seconds(key: str, default: float) -> float:
        return report.read(entries.get(key), values.positive_duration, default)

    return Timeouts(
        connect=seconds("connect", usual.connect),
        first_byte=seconds("first_byte", usual.first_byte),
        idle=seconds("idle", usual.idle),
    )


def read_rule_timeouts(
    report: Report, node: Node | None, backend: Backend | None
) -> Timeouts | None:
    """Read a rule's own timeouts over its backend's; None when it has none."""
    entries = report.entries(node, RULE_TIMEOUTS)
    if not entries:
        return None
    usual = backend.timeouts if backend else Timeouts()

    def seconds(key: str, default: float) -> float:
        return report.read(entries.get(key), values.positive_duration, default)

    return Timeouts(
        connect=usual.connect,
        first_byte=seconds("first_byte", usual.first_byte),
        idle=seconds("idle", usual.idle),
    )


def _health(report: Report, node: Node | None) -> HealthCheck | None:
    entries = report.entries(node, HEALTH, required(HEALTH))
    path = report.read(entries.get("path"), _health_path, None)
    every = report.read(entries.get("every"), values.positive_duration, None)
    timeout = report.read(entries.get("timeout"), values.positive_duration, 2.0)
    host = report.read(entries.get("host"), _host, None)
    down_after = report.read(entries.get("down_after"), values.integer, 2)
    up_after = report.read(entries.get("up_after"), values.integer, 1)
    if not (path and every):
        return None
    return HealthCheck(
        path=path,
        every=every,
        timeout=timeout,
        host=host,
        down_after=down_after,
        up_after=up_after,
    )


def _health_path(node: Node) -> str:
    text = values.string(node)
    if not re.fullmatch(r"/[!-~]*", text) or "#" in text:
        raise refuse(node, "a health path begins with '/' and has no spaces")
    return text


def _host(node: Node) -> str:
    text = values.string(node)
    if not HOST.fullmatch(text):
        raise refuse(node, "this is not the name of a host", "such as lms.example")
    return text


def _ejection(report: Report, node: Node | None) -> Ejection | None:
    if isinstance(node, Scalar) and node.text == NO_EJECTION:
        return None
    entries = report.entries(node, EJECT)
    usual = Ejection()
    return Ejection(
        after=report.read(entries.get("after"), values.integer, usual.after),
        seconds=report.read(
            entries.get("for"), values.positive_duration, usual.seconds
        ),
        at_most=report.read(entries.get("at_most"), values.integer, None),
    )


def _breaker(report: Report, node: Node | None) -> Breaker:
    entries = report.entries(node, BREAKER)
    usual = Breaker()
    return Breaker(
        connections=report.read(
            entries.get("connections"), values.integer, usual.connections
        ),
        pending=report.read(entries.get("pending"), values.integer, usual.pending),
        in_flight=report.read(entries.get("in_flight"), values.integer, None),
    )


def _tls(report: Report, node: Node | None) -> BackendTls:
    entries = report.entries(node, BACKEND_TLS)
    verify = read_word(report, entries.get("verify"), "check", Verify.FULL)
    if "key" in entries and "certificate" not in entries:
        report.error(entries["key"].at, "there is a key and no certificate")
    if "ca" in entries and verify is Verify.NONE:
        message = "nothing is verified, so there is nothing to trust"
        report.error(entries["ca"].at, message, "leave ca or verify: none out")
    return BackendTls(
        ca=report.read(entries.get("ca"), read_file, None),
        certificate=report.read(entries.get("certificate"), read_file, None),
        key=report.read(entries.get("key"), read_file, None),
        server_name=report.read(entries.get("server_name"), _name, None),
        verify=verify or Verify.FULL,
    )


def read_file(node: Node) -> str:
    """Read the path of a file. Never quoted: people paste keys where paths belong."""
    text = values.string(node)
    if not FILE.fullmatch(text):
        raise refuse(node, "this is not the path of a file", "it begins with '/'")
    return text


def _name(node: Node) -> str:
    text = values.string(node)
    if ":" in text or not HOST.fullmatch(text):
        raise refuse(node, "this is not the name of a host", "such as lms.example")
    return text
