"""Changes of a policy on disk: told once, and not before they are over."""

import asyncio
from pathlib import Path

from proxy.edge.policy_source import PolicySource
from proxy.edge.policy_watch import PolicyWatch
from tests.wire import eventually

POLICY = """\
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
rules: [{id: home, match: GET /, allow: anyone}]
"""
EVERY = 0.01


class Looks(PolicySource):
    """A source whose looks are what a test says, one after the other."""

    def __init__(self, looks: list[int], known: int) -> None:
        super().__init__(Path(), {})
        self.known = known
        self.looks = looks
        self.looked = 0

    def look(self) -> object:
        """Return the next look; the last one stays."""
        self.looked += 1
        return self.looks[min(self.looked, len(self.looks)) - 1]


async def told(looks: list[int]) -> int:
    """Return how often a change is told."""
    count = 0

    def changed() -> None:
        nonlocal count
        count += 1

    source = Looks(looks, known=0)
    watch = PolicyWatch(source, changed, EVERY)
    watch.start()
    await eventually(lambda: source.looked > len(looks) + 2)
    await watch.stop()
    return count


async def test_change_is_told_once_it_rests() -> None:
    """Nothing while it goes on, and nothing twice."""
    assert await told([0, 0, 0]) == 0
    assert await told([0, 1, 1, 1]) == 1
    assert await told([1, 2, 3, 4, 4, 4]) == 1
    assert await told([1, 1, 2, 2]) == 2


async def test_change_that_is_taken_back_is_none() -> None:
    """What is known is known again."""
    assert await told([1, 0, 0]) == 0


async def test_what_was_loaded_meanwhile_is_no_change() -> None:
    """As after SIGHUP: whoever loads knows what was read."""
    source = Looks([1, 1], known=0)
    calls: list[int] = []
    watch = PolicyWatch(source, lambda: calls.append(1), EVERY)
    watch.start()
    source.known = 1
    await eventually(lambda: source.looked > 4)
    await watch.stop()

    assert calls == []


async def test_no_look_is_taken_where_none_is_wanted() -> None:
    """Every 0 seconds is never."""
    source = Looks([1], known=0)
    watch = PolicyWatch(source, lambda: None, 0)
    watch.start()
    await asyncio.sleep(0)
    await watch.stop()

    assert source.looked == 0


async def test_file_that_is_edited_is_told(tmp_path: Path) -> None:
    """A real source, a real file, and a load that knows what it read."""
    file = tmp_path / "lms.yaml"
    file.write_text(POLICY)
    source = PolicySource(file, {})
    source.load()
    changes: list[int] = []
    watch = PolicyWatch(source, lambda: changes.append(1), EVERY)
    watch.start()
    file.write_text(POLICY + "# more\n")
    await eventually(lambda: changes == [1])
    source.load()
    file.write_text(POLICY + "# even more\n")
    await eventually(lambda: changes == [1, 1])
    await watch.stop()

    assert source.look() != source.known
