"""What of a disk is a policy, what files include, and what counts as a change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core.errors import PolicyError
from proxy.edge.policy_files import PolicyFiles

ROOT = "version: 1\ninclude: [rules/, roles.yaml]\n"
MORE = "version: 1\n"


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path) -> Path:
    """A policy of a file that includes a folder and a file."""
    (tmp_path / "policy" / "rules").mkdir(parents=True)
    (tmp_path / "policy" / "lms.yaml").write_text(ROOT)
    (tmp_path / "policy" / "roles.yaml").write_text(MORE + "roles: ${ROLES}\n")
    for name in ("b.yaml", "a.yml", "a.test.yaml", ".hidden.yaml", "note.txt"):
        (tmp_path / "policy" / "rules" / name).write_text(MORE)
    return tmp_path / "policy"


def names(files: PolicyFiles, folder: Path) -> list[str]:
    """Return the names of what is read, from the folder on."""
    return [os.path.relpath(name, folder) for name, _ in files.read()]


def test_what_is_included_is_read_after_what_includes(folder: Path) -> None:
    """Folders in the order of names, without test cases and hidden files."""
    files = PolicyFiles(folder / "lms.yaml", {})

    assert names(files, folder) == [
        "lms.yaml",
        "rules/a.yml",
        "rules/b.yaml",
        "roles.yaml",
    ]


def test_each_file_is_read_once(folder: Path) -> None:
    """However often it is included, and by whatever way."""
    (folder / "rules" / "b.yaml").write_text("version: 1\ninclude: [../lms.yaml, .]\n")
    (folder / "c.yaml").symlink_to(folder / "roles.yaml")

    assert sorted(names(PolicyFiles(folder, {}), folder)) == [
        "c.yaml",
        "lms.yaml",
        "rules/a.yml",
        "rules/b.yaml",
    ]


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("[nowhere]", "lms.yaml:2:11: error: include[0]: 'nowhere' is not there"),
        ("[empty/]", "lms.yaml:2:11: error: include[0]: there is no *.yaml in"),
    ],
)
def test_what_is_not_there_is_found_where_it_is_named(
    folder: Path, include: str, expected: str
) -> None:
    """With the place of the word."""
    (folder / "empty").mkdir()
    (folder / "lms.yaml").write_text(f"version: 1\ninclude: {include}\n")

    with pytest.raises(PolicyError, match="error") as caught:
        PolicyFiles(folder / "lms.yaml", {}).read()
    assert expected in str(caught.value)


@pytest.mark.parametrize("include", ["rules", "{a: b}", "[[a]]", "[{a: b}]", "['']"])
def test_what_is_no_list_of_words_is_left_to_the_parser(
    folder: Path, include: str
) -> None:
    """Who knows what a policy is says so; here nothing is included."""
    (folder / "lms.yaml").write_text(f"version: 1\ninclude: {include}\n")

    assert names(PolicyFiles(folder / "lms.yaml", {}), folder) == ["lms.yaml"]


def write(path: Path, text: str) -> None:
    """Write anew, as an editor does that renames."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


CHANGES: list[Callable[[Path], object]] = [
    lambda folder: (folder / "lms.yaml").write_text(ROOT + "# more\n"),
    lambda folder: write(folder / "lms.yaml", ROOT),
    lambda folder: (folder / "rules" / "new.yaml").write_text(MORE),
    lambda folder: (folder / "rules" / "a.yml").unlink(),
    lambda folder: os.utime(folder / "roles.yaml", (1, 1)),
    lambda folder: (folder.parent / "roles").write_text("[student]"),
    lambda folder: (folder.parent / "key").write_text("another"),
    lambda folder: folder.rename(folder.parent / "elsewhere"),
]


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_every_change_is_seen(folder: Path, change: Callable[[Path], object]) -> None:
    """Of files, of folders, of what is included, and of the files of secrets."""
    for name in ("roles", "key"):
        (folder.parent / name).write_text("x")
    environment = {
        "ROLES_FILE": str(folder.parent / "roles"),
        "ENCRYPTION_KEY_FILE": str(folder.parent / "key"),
    }
    files = PolicyFiles(folder, environment)
    files.read()
    before = files.state()
    assert files.state() == before
    change(folder)

    assert files.state() != before


def test_folder_that_is_swapped_by_a_link_has_changed(tmp_path: Path) -> None:
    """As Kubernetes swaps a ConfigMap: links to links, one of which is renamed."""
    mount = tmp_path / "mount"
    mount.mkdir()
    for version in ("one", "two"):
        (mount / version).mkdir()
        (mount / version / "lms.yaml").write_text(MORE)
        os.utime(mount / version / "lms.yaml", (5, 5))
    (mount / "..data").symlink_to("one")
    (mount / "lms.yaml").symlink_to("..data/lms.yaml")
    files = PolicyFiles(mount, {})
    files.read()
    before = files.state()
    (mount / "..data_new").symlink_to("two")
    (mount / "..data_new").rename(mount / "..data")

    assert files.state() != before


def test_what_is_not_part_of_the_policy_changes_nothing(folder: Path) -> None:
    """Notes beside it may be written as one likes."""
    files = PolicyFiles(folder, {})
    files.read()
    before = files.state()
    (folder / "rules" / "note.txt").write_text("more")

    assert files.state() == before
