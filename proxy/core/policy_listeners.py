"""The ports that clients connect to, as the policy has them: from nodes to values.

Nothing here opens a socket or a file: whether an address is to be had, and whether a
certificate can be used, is found when the process starts or reloads.
"""

from proxy.core import policy_values as values
from proxy.core.listener_keys import LISTENER, LISTENER_TLS
from proxy.core.listeners import DEFAULT_LISTENER, Address, Listener, ListenerTls
from proxy.core.policy_backends import read_file
from proxy.core.policy_keys import required
from proxy.core.policy_sections import Section, named
from proxy.core.policy_values import Report, refuse
from proxy.core.yaml_source import Node

TLS_VERSIONS = ("1.2", "1.3")


def read_listeners(report: Report, section: Section) -> dict[str, Listener | None]:
    """Read the listeners; the one at LISTEN is there in every policy."""
    listeners = named(report, section, _listener)
    first: dict[Address, str] = {}
    for name, one in listeners.items():
        if one is None or one.address is None or one.address.is_any_free:
            continue
        if one.address in first:
            message = f"the listeners {first[one.address]!r} and {name!r} are at one"
            report.error(section[name][0].at, f"{message} address")
        first.setdefault(one.address, name)
    return {DEFAULT_LISTENER: Listener(), **listeners}


def _listener(report: Report, name: str, node: Node) -> Listener | None:
    entries = report.entries(node, LISTENER)
    address = report.read(entries.get("listen"), _address, None)
    if name == DEFAULT_LISTENER and "listen" in entries:
        hint = "remove it, or give the listener another name"
        message = f"where {DEFAULT_LISTENER!r} listens is said by LISTEN"
        report.error(entries["listen"].at, message, hint)
    if name != DEFAULT_LISTENER and "listen" not in entries:
        report.error(node.at, "'listen' is missing", "such as 127.0.0.1:8081")
    proxy_protocol = report.read(entries.get("proxy_protocol"), values.yes_or_no, False)
    return Listener(
        id=name,
        address=address,
        tls=_tls(report, entries.get("tls")),
        proxy_protocol=bool(proxy_protocol),
        max_connections=report.read(
            entries.get("max_connections"), values.integer, None
        ),
    )


def _address(node: Node) -> Address:
    text = values.string(node)
    try:
        return Address.parse(text)
    except ValueError:
        hint = "127.0.0.1:8081, :8081, [::1]:8081 or unix:/run/lumina/egress.sock"
        raise refuse(node, "this is no address to listen at", hint) from None


def _tls(report: Report, node: Node | None) -> ListenerTls | None:
    if node is None:
        return None
    entries = report.entries(node, LISTENER_TLS, required(LISTENER_TLS))
    certificate = report.read(entries.get("certificate"), read_file, None)
    key = report.read(entries.get("key"), read_file, None)
    oldest = report.read(
        entries.get("oldest"),
        lambda n: values.choice(n, "version of TLS", TLS_VERSIONS),
        "1.3",
    )
    if certificate is None:
        return None
    return ListenerTls(certificate=certificate, key=key, tls_1_2=oldest == "1.2")
