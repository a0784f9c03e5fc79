"""From what passed to what a policy is drafted for."""

from proxy.core.learning import Learned
from proxy.core.workbench.learnt import MANY, operations_of
from proxy.core.workbench.sketch import Operation


def seen(
    learned: Learned, method: str, path: str, role: str = "", **body: object
) -> None:
    """Have one request pass, answered with this body."""
    endpoint = learned.note(method, path, "somebody", 1.0)
    assert endpoint is not None
    endpoint.note_answer(200, role)
    endpoint.note_body(body, response=True, size=1)


def operations(learned: Learned) -> dict[str, Operation]:
    """Return the operations by method and path."""
    return {f"{one.method} {one.path}": one for one in operations_of(learned)}


def test_only_what_was_answered_becomes_an_operation() -> None:
    """With the roles that used it, or none where somebody had no token."""
    learned = Learned()
    seen(learned, "GET", "/users/7", "teacher", email="a@b.example", id=7)
    seen(learned, "GET", "/users/8", "admin")
    seen(learned, "POST", "/login", "teacher")
    seen(learned, "POST", "/login")
    scanned = learned.note("GET", "/.env", "somebody", 1.0)
    assert scanned is not None
    scanned.note_answer(404, "")
    found = operations(learned)

    assert list(found) == ["POST /login", "GET /users/{user}"]
    assert found["GET /users/{user}"].roles == ("admin", "teacher")
    assert found["GET /users/{user}"].response == {"$.email": "email"}
    assert (found["GET /users/{user}"].seen, found["POST /login"].roles) == (2, ())


def test_names_of_members_are_found_wherever_they_are() -> None:
    """In lists, in members of members, and in names that are quoted."""
    learned = Learned()
    seen(learned, "GET", "/a", items=[{"e-mail": "x"}], person={"firstName": "y"})
    [operation] = operations(learned).values()

    assert operation.response == {
        "$.items[*]['e-mail']": "email",
        "$.person.firstName": "name",
    }


def test_many_alike_in_one_place_are_values() -> None:
    """So no name of a person becomes a rule; what can be asked otherwise stays."""
    learned = Learned()
    people = [f"person{'abcdefghijkl'[n]}" for n in range(MANY + 1)]
    for name in people:
        seen(learned, "GET", f"/users/{name}")
        seen(learned, "GET", f"/users/{name}/notes", email="a@b.example")
    seen(learned, "GET", "/users/7")
    seen(learned, "GET", "/users/7/notes")
    seen(learned, "GET", "/users/me")
    for resource in "abcdefghijkl":
        seen(learned, "GET", f"/api/{resource}/{resource}")
    found = operations(learned)

    assert found["GET /users/{user}"].seen == MANY + 2
    assert found["GET /users/{user}/notes"].response == {"$.email": "email"}
    assert "GET /users/me" in found
    assert not any(name in path for path in found for name in people)
    assert len([path for path in found if path.startswith("GET /api/")]) == 12


def test_nothing_is_learned_of_nothing() -> None:
    """And nothing fails."""
    assert operations(Learned()) == {}
