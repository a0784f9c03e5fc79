"""Names of entries never collide, and what one message has is not another's."""

import itertools

import pytest

from proxy.core.entries import (
    Entries,
    LostError,
    by_kind,
    owner_name,
    subject_name,
    token_name,
)


def test_names_never_collide() -> None:
    """However tenant, field, token and subject are cut in pieces."""
    texts = ("", "a", "ab", "b")
    names = [token_name(*one) for one in itertools.product(texts, repeat=3)]
    names += [owner_name(b"key", *one) for one in itertools.product(texts, repeat=2)]
    names += [owner_name(b"other", "a", "b"), subject_name(1), subject_name(256)]

    assert len(set(names)) == len(names)


def test_a_subject_is_not_in_its_name() -> None:
    """Whoever reads the keystore does not read who is in it."""
    assert b"ada" not in owner_name(b"key", "north", "ada")[1]


def test_a_message_begins_with_what_was_found() -> None:
    """And has nothing of the one before it."""
    entries = Entries()
    name, other = subject_name(1), subject_name(2)
    entries.new[name] = b"new"
    entries.give({name: b"found"}, {"user.name": b"owner"})

    assert (entries.get(name), entries.get(other)) == (b"found", None)
    assert (entries.new, entries.owners) == ({}, {"user.name": b"owner"})
    entries.give({})
    assert (entries.get(name), entries.owners) == (None, {})
    assert repr(entries) == "<Entries>"


def test_what_nobody_could_look_for_is_lost() -> None:
    """That is another thing than an entry that is not there."""
    entries = Entries()
    entries.give(None)
    with pytest.raises(LostError):
        entries.get(subject_name(1))
    entries.give({})

    assert entries.get(subject_name(1)) is None


def test_names_are_asked_for_once() -> None:
    """By kind, in their order."""
    names = [
        subject_name(1),
        token_name("", "f", "t"),
        subject_name(2),
        subject_name(1),
    ]

    assert by_kind(names) == {
        "subject": [b"\0\0\0\1", b"\0\0\0\2"],
        "token": [token_name("", "f", "t")[1]],
    }
