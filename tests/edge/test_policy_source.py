"""Policy files on disk: what is read, and what stays in force when it is bad."""

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
    assert (source.warnings, source.last_error, source.loaded_at) == ((), None, 0.0)


def test_load_puts_in_force(file: Path) -> None:
    """What load returns is the policy in force, and when it came is known."""
    source = source_of(file)

    assert source.load() is source.current
    assert source.loaded_at == 1_700_000_000.0


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


def test_reload_swaps_to_the_new_policy(file: Path) -> None:
    """An edit is in force after the reload, with its warnings."""
    source = source_of(file)
    before = source.load()
    file.write_text(OPEN)

    after = source.reload()
    assert after is source.current
    assert after.digest != before.digest
    assert [one.message for one in source.warnings] == [
        "anyone may write here, without a limit"
    ]


def test_variables_are_asked_again_with_every_load(file: Path) -> None:
    """A value that was rotated is in force with the next reload."""
    environment = {"NAME": "old"}
    source = PolicySource(file, environment)
    source.load()
    environment["NAME"] = "new"

    assert source.reload().deployment == "new"


def test_bad_reload_keeps_the_last_good_policy(file: Path) -> None:
    """A bad edit changes nothing but the error; a good one clears it."""
    source = source_of(file)
    policy = source.load()
    file.write_text(GOOD + "roels: []\n")

    with pytest.raises(PolicyError):
        source.reload()
    assert source.current is policy
    assert source.last_error == (
        f"{file}:6:1: error: roels: unknown key 'roels' (did you mean 'roles'?)"
    )

    file.write_text(GOOD)
    source.reload()
    assert source.last_error is None


def test_revoked_load_never_happened(file: Path) -> None:
    """But for its reason: policy, warnings and time are those of the load before."""
    source = PolicySource(file, {}, iter([1.0, 2.0, 3.0]).__next__)
    policy = source.load()
    file.write_text(OPEN)
    source.reload()
    source.revoke("there is no such key")

    assert source.current is policy
    assert (source.warnings, source.loaded_at) == ((), 1.0)
    assert source.last_error == "there is no such key"

    again = source_of(file).load()
    assert source.reload().digest == again.digest != policy.digest
    assert source.loaded_at == 3.0


def test_lost_file_keeps_the_last_good_policy(file: Path) -> None:
    """A policy that was deleted stays in force until there is a new one."""
    source = source_of(file)
    policy = source.load()
    file.unlink()

    with pytest.raises(PolicyError, match="No such file or directory"):
        source.reload()
    assert source.current is policy


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
