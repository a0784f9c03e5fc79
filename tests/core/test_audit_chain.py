"""Lines of the audit log vouch for each other, and say where they were touched."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.audit_chain import (
    CONTINUED,
    GENESIS,
    TORN,
    AuditKey,
    Flaw,
    Head,
    head_of,
    line_of,
    verify,
)

KEY = AuditKey(bytes(range(32)))
OTHER = AuditKey(bytes(range(1, 33)))
WHEN = "2026-11-24T12:00:00.000000Z"


START = Head()


def chain(count: int, key: AuditKey = KEY, head: Head = START) -> list[bytes]:
    """Return lines of a log."""
    lines = []
    for number in range(count):
        line, head = line_of(key, head, WHEN, "token.revoked", {"jti": f"t{number}"})
        lines.append(line)
    return lines


def flaws(lines: list[bytes], *checkpoints: Head) -> list[tuple[int, str]]:
    """Return the line and the text of each flaw."""
    return [(flaw.line, flaw.says) for flaw in verify([KEY], lines, checkpoints).flaws]


def test_line_is_json_with_what_happened() -> None:
    """A line is one JSON object: number, time, event, fields, key and mac."""
    (line,) = chain(1)
    document = json.loads(line)

    assert list(document) == ["seq", "time", "event", "jti", "key", "mac"]
    assert (document["seq"], document["time"]) == (1, WHEN)
    assert (document["event"], document["key"]) == ("token.revoked", KEY.id)
    assert str(head_of(line)) == f"1:{document['mac']}"


@pytest.mark.parametrize("name", ["seq", "mac", "key", "time", "event"])
def test_field_may_not_be_one_of_the_line(name: str) -> None:
    """A field cannot pass for the number, the key or the mac."""
    with pytest.raises(ValueError, match=f"{name} is a key of the line itself"):
        line_of(KEY, Head(), WHEN, "e", {name: "x"})


def test_whole_log_is_intact() -> None:
    """What nobody touched has no flaw, and its end is a checkpoint."""
    lines = chain(5)
    found = verify([OTHER, KEY], lines)

    assert (found.intact, found.flaws, found.lines) == (True, [], 5)
    assert found.events == {"token.revoked": 5}
    assert found.head == head_of(lines[-1])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda lines: [lines[0], lines[1].replace(b"t1", b"t9"), *lines[2:]],
            [(2, "line 2 was changed, or the one before it replaced")],
        ),
        (
            lambda lines: [lines[0], *lines[2:]],
            [(2, "line 2 is missing before line 3")],
        ),
        (
            lambda lines: [lines[0], *lines[4:]],
            [(2, "lines 2 to 4 are missing before line 5")],
        ),
        (lambda lines: lines[1:], [(1, "line 1 is missing before line 2")]),
        (
            lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
            [
                (2, "line 2 is missing before line 3"),
                (3, "line 2 is out of order: it comes after line 3"),
                (4, "line 3 is missing before line 4"),
            ],
        ),
        (
            lambda lines: [*lines[:2], lines[1], *lines[2:]],
            [(3, "line 2 is out of order: it comes after line 2")],
        ),
        (
            lambda lines: [lines[0], b"{}\n", *lines[2:]],
            [
                (2, "it is no line of an audit log"),
                (3, "line 2 is missing before line 3"),
            ],
        ),
        (
            lambda lines: [lines[0], *chain(1, OTHER, head_of(lines[0])), *lines[2:]],
            [
                (2, f"it is bound by the key {OTHER.id}, which was not given"),
                (3, "line 3 was changed, or the one before it replaced"),
            ],
        ),
    ],
    ids=[
        *("changed", "removed", "several-removed", "first-removed"),
        *("reordered", "repeated", "no-line", "other-key"),
    ],
)
def test_tampering_is_found_where_it_was_done(
    change: Callable[[list[bytes]], list[bytes]], expected: list[tuple[int, str]]
) -> None:
    """A changed, removed, reordered or added line is named by its number."""
    found = verify([KEY], change(chain(6)))

    assert [(flaw.line, flaw.says) for flaw in found.flaws] == expected
    assert not found.intact


def test_lines_cut_off_at_the_end_need_a_checkpoint() -> None:
    """A shortened log is whole by itself; a checkpoint kept elsewhere tells."""
    lines = chain(6)
    kept = head_of(lines[4])

    assert flaws(lines, kept) == []
    assert flaws(lines[:3]) == []
    assert flaws(lines[:3], kept) == [
        (4, "lines up to 5, of a checkpoint, are missing at the end")
    ]


def test_log_that_was_written_anew_does_not_meet_a_checkpoint() -> None:
    """Whoever has the key may forge a log, but not one that was vouched for."""
    kept = head_of(chain(3)[-1])
    forged, head = [], Head()
    for number in range(4):
        line, head = line_of(KEY, head, WHEN, "harmless", {"n": number})
        forged.append(line)

    assert flaws(forged, kept) == [(3, "line 3 is not the one of the checkpoint")]


def test_torn_line_is_explained_by_the_next() -> None:
    """What a crash left of a line is no tampering where the log itself says so."""
    lines = chain(3)
    line, head = line_of(KEY, head_of(lines[1]), WHEN, TORN, {"bytes": 20})
    after, _ = line_of(KEY, head, WHEN, "e", {})
    found = verify([KEY], [*lines[:2], lines[2][:20] + b"\n", line, after])

    says = "it was torn by a crash, as the next line says"
    assert found.flaws == [Flaw(3, says, tampering=False)]
    assert found.intact


def test_torn_last_line_may_still_be_written() -> None:
    """A last line without an end is told, and is no tampering."""
    lines = chain(3)
    found = verify([KEY], [*lines[:2], lines[2][:40]])

    says = "the last line is torn: a crash ended the writer, or it still writes"
    assert found.flaws == [Flaw(3, says, tampering=False)]
    assert (found.intact, found.head) == (True, head_of(lines[1]))


def test_part_of_a_log_says_what_came_before() -> None:
    """After a rotation the first line has the last mac; both ways of reading fit."""
    before = chain(3)
    head = head_of(before[-1])
    first, head = line_of(KEY, head, WHEN, CONTINUED, {"previous": head.mac.hex()})
    part = [first, *chain(2, KEY, head)]

    assert flaws(part) == []
    assert flaws(before + part) == []
    assert flaws(before[:-1] + part) == [(3, "line 3 is missing before line 4")]


@pytest.mark.parametrize(
    "text", ["", "17", "x:" + "0" * 64, "1:" + "0" * 63, "1:" + "g" * 64]
)
def test_checkpoint_is_a_number_and_a_mac(text: str) -> None:
    """What is no checkpoint is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - of two kinds
        Head.parse(text)


def test_checkpoint_is_read_as_it_is_written() -> None:
    """A checkpoint survives paper."""
    head = head_of(chain(2)[1])

    assert Head.parse(str(head)) == head
    assert str(Head()) == f"0:{GENESIS.hex()}"


@pytest.mark.parametrize(
    "line",
    [
        b'{"seq": 1}\n',
        b'[1, "mac": "00"]\n',
        b"\n",
        b'{"seq": true, "key": "k", "event": "e", "mac": "00"}\n',
        b'{"seq": 0, "key": "k", "event": "e", "mac": "00"}\n',
        b'{"seq": 1, "key": "k", "event": "e", "mac": "xx"}\n',
        b'{"seq": 1, "key": "k", "event": "e", "mac": 7, "mac": "00"}',
    ],
)
def test_other_lines_are_none_of_the_log(line: bytes) -> None:
    """A line that cannot be read as one is a flaw and never a crash."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
        head_of(line)


def test_key_never_shows() -> None:
    """The key is in no representation."""
    assert repr(KEY) == "AuditKey()"


@given(
    st.lists(st.dictionaries(st.text(min_size=1), st.text()), min_size=1, max_size=6),
    st.data(),
)
def test_any_changed_byte_is_found(
    rows: list[dict[str, str]], data: st.DataObject
) -> None:
    """Whatever is logged, no byte of it can be another and pass."""
    lines: list[bytes] = []
    head = Head()
    for row in rows:
        fields = {f"x-{name}": value for name, value in row.items()}
        line, head = line_of(KEY, head, WHEN, "event", fields)
        lines.append(line)
    whole = b"".join(lines)
    at = data.draw(st.integers(0, len(whole) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != whole[at]))
    changed = whole[:at] + bytes((byte,)) + whole[at + 1 :]

    assert verify([KEY], lines).flaws == []
    assert not verify([KEY], changed.splitlines(keepends=True)).intact


@given(st.lists(st.binary(), max_size=5))
def test_noise_is_never_intact(noise: list[bytes]) -> None:
    """Bytes that are no log are told, each line of them."""
    lines = [line + b"\n" for line in noise]
    found = verify([KEY], lines)

    assert found.lines == len(lines)
    assert len(found.flaws) == len(lines)
