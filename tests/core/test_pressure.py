"""Who is near a limit, or over it."""

from proxy.core.bucket import Grant
from proxy.core.limits import Take, takes_for
from proxy.core.pressure import NEAR, OVER, SHADOW, Pressure
from tests.limit_builders import API

LEFT = Grant(True, 3, 0.0, 60.0)
NONE_LEFT = Grant(False, 0, 36.0, 60.0)


def take(subject: str) -> Take:
    """Return a take of somebody."""
    [one] = takes_for((API,), role="student", subject=subject, client="")
    return one


def test_whoever_was_refused_most_often_is_first() -> None:
    """Then who was near most often; with what was left, and when."""
    pressure = Pressure()
    pressure.note(take("near"), LEFT, NEAR, "student", 10.0)
    pressure.note(take("near"), LEFT, NEAR, "student", 11.0)
    pressure.note(take("over"), LEFT, NEAR, "student", 10.0)
    pressure.note(take("over"), NONE_LEFT, OVER, "teacher", 12.0)
    pressure.note(take("noted"), NONE_LEFT, SHADOW, "", 13.0)
    pressure.note(take("noted"), NONE_LEFT, SHADOW, "", 13.0)

    rows = pressure.rows(15.0, 10)

    assert [(row.owner, row.near, row.over) for row in rows] == [
        ("s:noted", 0, 2),
        ("s:over", 1, 1),
        ("s:near", 2, 0),
    ]
    over = rows[1]
    assert (over.limit, over.role, over.remaining, over.burst) == (
        "api",
        "teacher",
        0,
        100,
    )
    assert over.ago == 3.0
    assert len(pressure.rows(15.0, 1)) == 1


def test_long_ago_is_not_now() -> None:
    """Ten minutes later nobody is shown who was quiet since."""
    pressure = Pressure()
    pressure.note(take("a"), NONE_LEFT, OVER, "", 0.0)

    assert len(pressure.rows(599.0, 9)) == 1
    assert pressure.rows(600.0, 9) == []


def test_one_can_be_forgotten() -> None:
    """When an operator has given back what was taken."""
    pressure = Pressure()
    pressure.note(take("a"), NONE_LEFT, OVER, "", 0.0)
    pressure.forget(take("a").key)
    pressure.forget("never there")

    assert pressure.rows(0.0, 9) == []


def test_there_is_room_for_those_who_press_most() -> None:
    """Whoever hammers stays, however many others come once."""
    pressure = Pressure(room=10)
    for number in range(500):
        pressure.note(take("hammers"), NONE_LEFT, OVER, "", float(number))
        pressure.note(take(f"once-{number}"), LEFT, NEAR, "", float(number))

        assert len(pressure._pressed) <= 21
    assert pressure.rows(500.0, 1)[0].over == 500
