"""Is this client one of those addresses?

Networks are laid together once, at load: overlapping ones are one, and what is left is
in order, so that asking takes a binary search however long the list is.

An IPv4 address that is written as an IPv6 one (``::ffff:192.0.2.1``) is the IPv4
address, on both sides: a list that names the one means the other.
"""

import dataclasses
import functools
import ipaddress
from bisect import bisect_right
from collections.abc import Iterable

from proxy.core.forwarding import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


@dataclasses.dataclass(frozen=True, slots=True)
class AddressSet:
    """Addresses, as networks that do not overlap.

    Attributes:
        networks: in order, those of IPv4 first.
    """

    networks: tuple[Network, ...]
    _starts: tuple[tuple[int, int], ...] = dataclasses.field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        starts = tuple((one.version, int(one.network_address)) for one in self.networks)
        object.__setattr__(self, "_starts", starts)

    @classmethod
    def of(cls, networks: Iterable[Network]) -> "AddressSet":
        """Lay networks together.

        Example:
            >>> one, other = map(ipaddress.ip_network, ("10.0.0.0/9", "10.128.0.0/9"))
            >>> [str(network) for network in AddressSet.of((one, other)).networks]
            ['10.0.0.0/8']
        """
        four: list[ipaddress.IPv4Network] = []
        six: list[ipaddress.IPv6Network] = []
        for network in map(_unmapped, networks):
            if isinstance(network, ipaddress.IPv4Network):
                four.append(network)
            else:
                six.append(network)
        collapse = ipaddress.collapse_addresses
        return cls((*collapse(four), *collapse(six)))

    def has(self, client: str) -> bool:
        """Say whether an address is one of them; text that is none is not."""
        address = parsed(client)
        if address is None:
            return False
        key = (address.version, int(address))
        place = bisect_right(self._starts, key) - 1
        return place >= 0 and address in self.networks[place]


def _unmapped(network: Network) -> Network:
    """Return the IPv4 network that an IPv6 one only writes in another way."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        start = int(network.network_address) & 0xFFFF_FFFF
        return ipaddress.IPv4Network((start, network.prefixlen - 96))
    return network


@functools.lru_cache(maxsize=4096)
def parsed(client: str) -> Address | None:
    """Return an address; None for text that is none, such as that of a unix socket."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Whose requests may use a rule, by the address of the client. Deny wins.

    Attributes:
        allow: nobody else may; None for anybody.
        deny: who may not, whatever ``allow`` says; None for nobody.
    """

    allow: AddressSet | None = None
    deny: AddressSet | None = None

    def admits(self, client: str) -> bool:
        """Say whether a client may; one whose address is not known may not."""
        if parsed(client) is None:
            return False
        if self.deny is not None and self.deny.has(client):
            return False
        return self.allow is None or self.allow.has(client)
