"""Pathways, assessments and notes."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

Client = TestClient[web.Request, web.Application]


async def test_health(lms: Client) -> None:
    """The service says that it is up."""
    assert await (await lms.get("/health")).json() == {"status": "ok"}


async def test_a_pathway_is_kept(lms: Client) -> None:
    """What is created is listed and read back the same."""
    sent = {"title": "Logic", "description": "d", "steps": ["and", "or"]}
    answer = await lms.post("/api/pathways", json=sent)
    assert answer.status == 201
    made = await answer.json()
    assert made == {"id": 1, **sent}
    assert await (await lms.get("/api/pathways/1")).json() == made
    listed = await (await lms.get("/api/pathways")).json()
    assert listed == {"items": [made], "total": 1}


async def test_an_assessment_is_deterministic(lms: Client) -> None:
    """The same topic gets the same questions, as many as asked for."""
    wanted = {"topic": "Logic", "questions": 3}
    answers = [await lms.post("/api/generate-assessment", json=wanted) for _ in "ab"]
    assert [answer.status for answer in answers] == [201, 201]
    first, second = [await answer.json() for answer in answers]
    assert first["questions"] == second["questions"]
    assert len(first["questions"]) == 3
    assert (first["id"], second["id"]) == (1, 2)
    assert await (await lms.get("/api/assessments/2")).json() == second
    listed = await (await lms.get("/api/assessments")).json()
    assert listed == {"items": [first, second], "total": 2}


async def test_an_assessment_is_completed(lms: Client) -> None:
    """The score is answered and kept."""
    await lms.post("/api/generate-assessment", json={"topic": "Logic"})
    answer = await lms.post("/api/assessments/1/complete", json={"score": 87.5})
    assert await answer.json() == {"id": 1, "score": 87.5, "completed": True}
    kept = await (await lms.get("/api/assessments/1")).json()
    assert (kept["score"], kept["completed"]) == (87.5, True)


async def test_a_note_comes_and_goes(lms: Client) -> None:
    """A note is created, read, listed and deleted."""
    sent = {"title": "t", "text": "x" * 10_000, "embedding": [0.5, -1.0]}
    answer = await lms.post("/api/notes", json=sent)
    assert answer.status == 201
    made = await answer.json()
    assert made == {"id": 1, **sent}
    assert await (await lms.get("/api/notes/1")).json() == made
    listed = await (await lms.get("/api/notes")).json()
    assert listed == {"items": [made], "total": 1}
    assert (await lms.delete("/api/notes/1")).status == 204
    assert (await lms.delete("/api/notes/1")).status == 404


async def test_search_ranks_by_cosine(lms: Client) -> None:
    """Direction counts, length does not; other dimensions are left out."""
    vectors: list[list[float]] = [[0, 1], [9, 0], [1, 1], [0, 0], [1, 0, 0], []]
    for vector in vectors:
        await lms.post("/api/notes", json={"text": "x", "embedding": vector})
    wanted = {"embedding": [2, 0], "limit": 3}
    answer = await lms.post("/api/notes/search", json=wanted)
    items = (await answer.json())["items"]
    assert [item["note"]["id"] for item in items] == [2, 3, 1]
    scores = [item["score"] for item in items]
    assert scores == pytest.approx([1.0, 0.5**0.5, 0.0])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "pathways/9"),
        ("GET", "assessments/9"),
        ("POST", "assessments/9/complete"),
        ("GET", "notes/9"),
        ("GET", "notes/999999999999999999"),
        ("GET", "notes/9999999999999999999"),
        ("GET", "notes/x"),
    ],
)
async def test_what_is_missing_is_not_found(
    lms: Client,
    method: str,
    path: str,
) -> None:
    """An id nobody has, or that is none, answers 404."""
    answer = await lms.request(method, f"/api/{path}", json={"score": 1})
    assert answer.status == 404
    assert await answer.json() == {"detail": "Not found."}
