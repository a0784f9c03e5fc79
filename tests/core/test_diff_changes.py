"""Changes, laid together and put in order."""

from proxy.core.workbench.diff_changes import Area, Change, Changes, Direction
from proxy.core.workbench.diff_requests import Request

ONE = Request(methods="GET", path="/a", old="a", new="a")
TWO = Request(methods="GET", path="/b", old=None, new="b")


def test_changes_that_say_the_same_are_one() -> None:
    """The requests of a change that is found again are added to it, each once."""
    changes = Changes()
    changes.add(Area.ACCESS, Direction.OPENS, "student gains", [ONE])
    changes.add(Area.ACCESS, Direction.OPENS, "student gains", [TWO, ONE])

    assert changes.all() == (
        Change(
            area=Area.ACCESS,
            direction=Direction.OPENS,
            text="student gains",
            requests=(ONE, TWO),
        ),
    )


def test_changes_are_in_the_order_of_importance() -> None:
    """Access comes first, and of each area what opens; else as they were found."""
    changes = Changes()
    for area, direction, text in (
        (Area.RULES, Direction.OPENS, "1"),
        (Area.ACCESS, Direction.CHANGES, "2"),
        (Area.ACCESS, Direction.CLOSES, "3"),
        (Area.ACCESS, Direction.OPENS, "5"),
        (Area.ACCESS, Direction.OPENS, "4"),
    ):
        changes.add(area, direction, text)

    assert [change.text for change in changes.all()] == ["5", "4", "3", "2", "1"]
    assert changes.all()[0].requests == ()
