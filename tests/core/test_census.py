"""How many values name each key, wherever they stand and however they are cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.census import Counting
from proxy.core.keyset import Keyset
from tests.cipher_builders import FIELD, MAIL_DOMAIN, NEW, OLD, a_cipher, a_field

IDS = [Keyset([root]).primary for root in (NEW, OLD)]
KINDS = ("committing", "compact", "deterministic", "mail")


def value(kind: str, root: bytes) -> bytes:
    """Return a ciphertext as a store has it."""
    leaf = '"ada@example.org"'
    stored = a_cipher(a_field(kind), roots=(root,)).encrypt(FIELD, leaf)
    return str(json.loads(stored)).encode()


def counted(
    *pieces: bytes, domains: tuple[str, ...] = (MAIL_DOMAIN,)
) -> dict[int, int]:
    """Return what is counted in pieces."""
    counting = Counting(domains)
    for piece in pieces:
        counting.add(piece)
    counting.add(b"", last=True)
    return dict(counting.values)


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_counted_by_key(kind: str) -> None:
    """In a dump, in JSON, between tabs, one right behind the other."""
    new, old = value(kind, NEW), value(kind, OLD)
    text = b'1\t%b\t{"email": "%b"}\n2\t%b,\\N\n' % (new, old, new)

    assert counted(text) == {IDS[0]: 2, IDS[1]: 1}


@given(st.integers(0, 2**32 - 1), st.data())
def test_pieces_may_be_cut_anywhere(seed: int, data: st.DataObject) -> None:
    """What is counted does not depend on how the text arrives."""
    values = [value(kind, root) for kind in KINDS for root in (NEW, OLD)]
    filler = b"x" * (seed % 700)
    text = b"\n".join(filler + b" " + one for one in values * 2)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    edges = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]

    assert counted(*pieces) == {key_id: 2 * len(KINDS) for key_id in IDS}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"lm1r",
        b"lm1rAAAAAAAAAAAA",
        b"lm1x4QEAAAAB",
        b"ada@enc.lms.example",
        b"alfaalfa@enc.lms.example",
    ],
)
def test_what_is_no_value_is_not_counted(text: bytes) -> None:
    """Text that begins otherwise, and addresses of people."""
    assert counted(text) == {}


def test_addresses_are_known_by_their_domains() -> None:
    """Below domains that the policy does not name nothing is counted."""
    stored = value("mail", NEW)

    assert counted(stored, domains=()) == {}
    assert counted(stored.upper()) == {IDS[0]: 1}
    assert counted(stored, domains=("other.example", MAIL_DOMAIN)) == {IDS[0]: 1}
