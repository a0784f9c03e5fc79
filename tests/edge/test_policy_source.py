"""Policy files on disk: what is read, and what stays in force when it is bad."""

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core.errors import PolicyError
from proxy.edge.policy_source import PolicySource

GOOD = """\
version: 1
deployment: "${NAME:-none}"
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
rules:
  - {id: home, match: GET /, allow: anyone}
"""
OPEN = GOOD + "  - {id: open, match: POST /, allow: anyone}\n"


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path) -> Path:
    """A file with a good policy."""
    file = tmp_path / "lms.yaml"
    file.write_text(GOOD)
    return file


def source_of(path: Path, clock: float = 1_700_000_000.0) -> PolicySource:
    """Return a source whose clock stands still."""
    return PolicySource(path, {}, lambda: clock)


def test_nothing_is_in_force_before_the_first_load(file: Path) -> None:
    """A new source has read nothing."""
    source = source_of(file)

    assert source.current is None
    assert source.state() == {
        "digest": None,
        "rules": 0,
        "loaded_at": 0.0,
        "last_error": None,
        "pinned": False,
    }


def test_what_is_put_in_force_is_known(file: Path) -> None:
    """With its text, and since when."""
    source = source_of(file)
    loaded = source.load()
    assert source.loaded_at == 0.0
    source.put_in_force(loaded)

    assert source.current is loaded
    assert loaded.files == ((str(file), GOOD),)
    assert source.state() == {
        "digest": loaded.policy.digest,
        "rules": 1,
        "loaded_at": 1_700_000_000.0,
        "last_error": None,
        "pinned": False,
    }


def test_folder_is_read_in_order_without_tests_and_hidden_files(tmp_path: Path) -> None:
    """Only the policies at the top of the folder count."""
    for name in ("b.yaml", "a.yml", "a.test.yaml", ".b.yaml", "notes.md"):
        (tmp_path / name).write_text(GOOD)
    (tmp_path / "more").mkdir()

    assert source_of(tmp_path).read() == [
        (str(tmp_path / "a.yml"), GOOD),
        (str(tmp_path / "b.yaml"), GOOD),
    ]


def test_byte_order_mark_is_not_part_of_the_text(file: Path) -> None:
    """Some editors put a mark first; it says nothing."""
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())

    assert source_of(file).read() == [(str(file), GOOD)]


def test_warnings_are_logged_with_the_policy(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When it comes into force, and not when it is only looked at."""
    source = source_of(file)
    file.write_text(OPEN)
    loaded = source.load()
    assert caplog.messages == []
    source.put_in_force(loaded)

    assert [one.message for one in loaded.warnings] == [
        "anyone may write here, without a limit"
    ]
    assert caplog.messages == [str(one) for one in loaded.warnings]


def test_variables_are_asked_again_with_every_load(file: Path) -> None:
    """A value that was rotated is in force with the next reload."""
    environment = {"NAME": "old"}
    source = PolicySource(file, environment)
    source.load()
    environment["NAME"] = "new"

    assert source.load().policy.deployment == "new"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda file: file.write_text(GOOD + "roels: []\n"), "unknown key 'roels'"),
        (lambda file: file.unlink(), "No such file or directory"),
    ],
    ids=["bad", "gone"],
)
def test_bad_edit_keeps_what_is_in_force(
    file: Path, edit: Callable[[Path], object], says: str
) -> None:
    """It changes nothing but the error that is told; a good one clears that."""
    source = PolicySource(file, {}, iter([1.0, 2.0]).__next__)
    source.put_in_force(first := source.load())
    edit(file)
    with pytest.raises(PolicyError, match=says) as refused:
        source.load()
    source.refuse(str(refused.value))

    assert source.current is first
    assert (source.loaded_at, source.last_error) == (1.0, str(refused.value))

    file.write_text(OPEN)
    source.put_in_force(source.load())
    assert (source.loaded_at, source.last_error) == (2.0, None)


def test_missing_path_is_one_finding(tmp_path: Path) -> None:
    """A path that does not exist is named, with the reason."""
    with pytest.raises(PolicyError) as caught:
        source_of(tmp_path / "nowhere").load()

    [finding] = caught.value.findings
    assert finding.file == str(tmp_path / "nowhere")
    assert finding.message == "No such file or directory"


def test_empty_folder_is_one_finding(tmp_path: Path) -> None:
    """A folder without a policy is not an empty policy."""
    with pytest.raises(PolicyError, match=r"there is no \*\.yaml in this folder"):
        source_of(tmp_path).load()


def test_file_that_is_not_text_is_one_finding(file: Path) -> None:
    """Bytes that are not UTF-8 are found by their place."""
    file.write_bytes(b"version: \xff")

    with pytest.raises(PolicyError, match="not UTF-8 at byte 9"):
        source_of(file).load()


def test_loop_of_links_is_one_finding(tmp_path: Path) -> None:
    """What the system says about a path is a finding, not a traceback."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)

    with pytest.raises(PolicyError, match="symbolic links"):
        source_of(loop).load()


def test_name_that_is_too_long_is_one_finding(tmp_path: Path) -> None:
    """A path that cannot even be looked up is refused like a missing one."""
    with pytest.raises(PolicyError, match="File name too long"):
        source_of(tmp_path / ("x" * 300)).load()
