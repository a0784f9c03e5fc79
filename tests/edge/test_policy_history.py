"""The policies that were in force: kept whole, read back exactly, and pinned."""

import json
import stat
from pathlib import Path

import pytest

from proxy.core.errors import PolicyError
from proxy.core.policy_parser import digest_of
from proxy.edge.policy_history import PolicyHistory
from proxy.edge.policy_source import PolicySource

POLICY = """\
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
rules: [{id: home, match: GET /, allow: anyone}]
"""


def kept(history: PolicyHistory, text: str, now: float) -> str:
    """Keep a policy of one file; return its digest."""
    files = [("lms.yaml", text)]
    history.keep(digest_of(files), files, now)
    return digest_of(files)


def test_policy_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Every byte of it, by nobody but its owner."""
    history = PolicyHistory(tmp_path / "state")
    digest = kept(history, POLICY + "# ü ${SECRET}\n", 5.0)
    found = history.get(digest)
    modes = [
        stat.S_IMODE(one.stat().st_mode)
        for one in (tmp_path / "state", tmp_path / "state" / f"{digest}.json")
    ]

    assert found.files == (("lms.yaml", POLICY + "# ü ${SECRET}\n"),)
    assert (found.digest, found.since) == (digest, 5.0)
    assert modes == [0o700, 0o600]


def test_the_latest_are_kept(tmp_path: Path) -> None:
    """One that comes into force again is the latest; the pinned one is never lost."""
    history = PolicyHistory(tmp_path, kept=2)
    first = kept(history, "a", 1.0)
    history.pin(first)
    second = kept(history, "b", 2.0)
    third = kept(history, "c", 3.0)
    kept(history, "b", 4.0)
    fourth = kept(history, "d", 5.0)

    assert [one.digest for one in history.all()] == [fourth, second, first]
    assert third not in [one.digest for one in history.all()]
    assert sorted(one.name for one in tmp_path.iterdir() if one.name[0] == ".") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "no policy"),
        ("", "no policy that was kept"),
        ("[]", "no policy that was kept"),
        ('{"files": [["a"]], "since": 1}', "no policy that was kept"),
        ('{"files": [["a", "b"]], "since": 1}', "its digest is another one"),
    ],
    ids=["missing", "empty", "list", "half", "edited"],
)
def test_what_was_not_kept_is_refused(
    tmp_path: Path, text: str | None, expected: str
) -> None:
    """Whoever edits a policy that was kept cannot have it pinned."""
    history = PolicyHistory(tmp_path)
    if text is not None:
        (tmp_path / f"{'0' * 16}.json").write_text(text)

    with pytest.raises(PolicyError, match=expected):
        history.pin("0" * 16)
    assert (history.pinned, history.all()) == (None, [])


def test_folder_that_is_not_there_keeps_nothing(tmp_path: Path) -> None:
    """Which is no error before the first policy is in force."""
    history = PolicyHistory(tmp_path / "nowhere")
    history_of_nobody = history.all()

    assert (history_of_nobody, history.pinned) == ([], None)


def test_pinned_policy_is_loaded_instead_of_the_disk(tmp_path: Path) -> None:
    """Until it is released; what was pinned is not kept as something new."""
    file = tmp_path / "lms.yaml"
    file.write_text(POLICY)
    history = PolicyHistory(tmp_path / "state")
    source = PolicySource(file, {}, lambda: 5.0, history)
    first = source.load()
    source.put_in_force(first)
    source.keep()
    file.write_text(POLICY + "# another\n")
    second = source.load()
    source.put_in_force(second)
    source.keep()
    before = source.look()
    history.pin(first.policy.digest)
    pinned = source.load()
    source.put_in_force(pinned)
    source.keep()

    assert source.look() != before
    assert pinned.policy.digest == first.policy.digest
    assert (source.state()["pinned"], source.word) == (True, "pinned")
    assert len(history.all()) == 2
    history.release()
    history.release()
    assert source.load().policy.digest == second.policy.digest


def test_pin_that_is_unreadable_is_no_policy(tmp_path: Path) -> None:
    """Nobody knows which was meant, so none is loaded and the last good one stays."""
    (tmp_path / "pinned").write_text("the one of yesterday\n")
    source = PolicySource(tmp_path, {}, history=PolicyHistory(tmp_path))

    with pytest.raises(PolicyError, match="no policy unreadable is kept"):
        source.load()


def test_folder_that_cannot_be_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And does not keep anybody from serving."""
    file = tmp_path / "lms.yaml"
    file.write_text(POLICY)
    (tmp_path / "state").write_text("a file")
    source = PolicySource(file, {}, history=PolicyHistory(tmp_path / "state"))
    source.keep()
    source.put_in_force(source.load())
    source.keep()

    [record] = caplog.records
    assert "cannot be kept" in record.getMessage()


def test_half_written_policy_is_none(tmp_path: Path) -> None:
    """A file is named once it is whole; what a crash left behind is not read."""
    history = PolicyHistory(tmp_path)
    digest = kept(history, POLICY, 1.0)
    text = (tmp_path / f"{digest}.json").read_text()
    (tmp_path / ".leftover").write_text(text[:20])
    (tmp_path / "readme.json").write_text(json.dumps({}))

    assert [one.digest for one in history.all()] == [digest]
