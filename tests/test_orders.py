"""Orders of operators, done by every process or by one for all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from proxy.edge.control import Declined
from proxy.edge.worker_process import Lost, WorkerProcess
from proxy.orders import pressed_of, relayed_once

Done = Mapping[str, Any] | BaseException


class Worker:
    """A worker that answers the same to every order."""

    def __init__(self, answer: Done) -> None:
        self.answer = answer
        self.told: list[Mapping[str, Any]] = []

    async def ask(self, what: str, argument: Any, *, seconds: float) -> object:
        """Note what is told."""
        assert (what, argument[0], seconds > 0) == ("order", "/limits/reset", True)
        self.told.append(argument[1])
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def workers(*each: Worker) -> Callable[[], Sequence[WorkerProcess]]:
    """Return what an order asks for its workers."""
    return lambda: cast("list[WorkerProcess]", list(each))


@pytest.mark.parametrize("shared", [True, False])
async def test_one_changes_what_all_share(*, shared: bool) -> None:
    """The others are told that it was done, or do it for their own limits."""
    done = {"shared": shared, "limits": ["login"]}
    lost, first, second = Worker(Lost("gone")), Worker(done), Worker(done)
    order = relayed_once("/limits/reset", workers(lost, first, second))

    assert await order({"who": "ada"}) == done
    assert first.told == [{"who": "ada"}]
    assert second.told == [{"who": "ada", "elsewhere": shared}]


async def test_what_the_first_declines_nobody_does() -> None:
    """Its sentence is the answer."""
    first, second = Worker(Declined("no such rule")), Worker({"shared": True})
    order = relayed_once("/limits/reset", workers(first, second))

    with pytest.raises(ValueError, match="no such rule"):
        await order({})
    assert second.told == []


async def test_somebody_has_to_answer() -> None:
    """Or it is said that nobody does."""
    order = relayed_once("/limits/reset", workers(Worker(Lost("gone"))))

    with pytest.raises(ValueError, match="No process of the proxy answers"):
        await order({})


def row(owner: str, over: int, near: int, ago: float) -> dict[str, Any]:
    """Return a row of one process."""
    return {"owner": owner, "limit": "api", "over": over, "near": near, "ago": ago}


def test_processes_add_up_whom_they_saw() -> None:
    """One row for each, as it was seen last, and whoever was refused most first."""
    one = [row("s:ada", 1, 5, 3.0), row("s:bob", 4, 0, 1.0)]
    other = [row("s:ada", 6, 1, 2.0), row("s:eve", 0, 9, 0.0)]

    assert pressed_of([{"pressed": part} for part in (one, other, [])]) == {
        "pressed": [
            row("s:ada", 7, 6, 2.0),
            row("s:bob", 4, 0, 1.0),
            row("s:eve", 0, 9, 0.0),
        ]
    }
