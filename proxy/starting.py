"""What refuses the start of the process."""

import contextlib
from collections.abc import Iterator

from proxy.core.listeners import Address


class StartError(Exception):
    """The process cannot start; the message is one line for people."""


@contextlib.contextmanager
def listening_at(address: Address) -> Iterator[None]:
    """Say of an OSError that it refused the address.

    Raises:
        StartError: there was one.
    """
    try:
        yield
    except OSError as error:
        raise StartError(
            f"Cannot listen on {address}: {error.strerror or error}."
        ) from None
