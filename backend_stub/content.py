"""Pathways, assessments and notes: what the service teaches with.

Knows nothing of who asks.
"""

import asyncio
import hashlib
import json
import math
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from aiohttp import web

from backend_stub import validation
from backend_stub.database import DATABASE, Row
from backend_stub.validation import Field

Shape = Callable[[Row], dict[str, Any]]

ONE = "{id:[0-9]{1,18}}"

routes = web.RouteTableDef()

_TITLE = validation.text(200)
_PATHWAY = {
    "title": Field(_TITLE),
    "description": Field(validation.text(blank=True), required=False, default=""),
    "steps": Field(validation.strings(200), required=False, default=()),
}
_ASSESSMENT = {
    "topic": Field(_TITLE),
    "difficulty": Field(
        validation.choice("easy", "medium", "hard"),
        required=False,
        default="medium",
    ),
    "questions": Field(validation.integer(1, 50), required=False, default=5),
}
_COMPLETION = {"score": Field(validation.number(0, 100))}
_NOTE = {
    "text": Field(validation.text()),
    "title": Field(validation.text(200, blank=True), required=False, default=""),
    "embedding": Field(validation.vector, required=False, default=()),
}
_SEARCH = {
    "embedding": Field(validation.vector),
    "limit": Field(validation.integer(1, 100), required=False, default=10),
}


def _found(row: Row | None) -> Row:
    if row is None:
        raise web.HTTPNotFound
    return row


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _pathway(row: Row) -> dict[str, Any]:
    return {**row, "steps": json.loads(row["steps"])}


def _assessment(row: Row) -> dict[str, Any]:
    questions = json.loads(row["questions"])
    return {**row, "questions": questions, "completed": row["score"] is not None}


def _note(row: Row) -> dict[str, Any]:
    return {**row, "embedding": json.loads(row["embedding"])}


async def _list(request: web.Request, table: str, shape: Shape) -> web.Response:
    database = request.app[DATABASE]
    # The table's name is one of this module's own words, never a client's.
    count = await database.rows(f"SELECT COUNT(*) AS total FROM {table}")  # noqa: S608
    rows = await database.rows(
        f"SELECT * FROM {table} ORDER BY id LIMIT ? OFFSET ?",  # noqa: S608
        *validation.page(request),
    )
    items = [shape(row) for row in rows]
    return web.json_response({"items": items, "total": count[0]["total"]})


@routes.get("/api/pathways")
async def list_pathways(request: web.Request) -> web.Response:
    """List pathways by id."""
    return await _list(request, "pathways", _pathway)


@routes.post("/api/pathways")
async def create_pathway(request: web.Request) -> web.Response:
    """Create a pathway."""
    values = await validation.body(request, _PATHWAY)
    values["steps"] = json.dumps(values["steps"])
    written = await request.app[DATABASE].write(
        "INSERT INTO pathways (title, description, steps) VALUES (?, ?, ?)",
        *(values[name] for name in ("title", "description", "steps")),
    )
    return web.json_response(_pathway({"id": written.row_id, **values}), status=201)


@routes.get(f"/api/pathways/{ONE}")
async def get_pathway(request: web.Request) -> web.Response:
    """Return one pathway."""
    query = "SELECT * FROM pathways WHERE id = ?"
    row = await request.app[DATABASE].row(query, _id(request))
    return web.json_response(_pathway(_found(row)))


def compose(topic: str, difficulty: str, count: int) -> list[dict[str, Any]]:
    """Return the questions of an assessment, the same for the same arguments."""
    aspects = ("purpose", "origin", "structure", "limits", "use")
    questions = []
    for place in range(1, count + 1):
        digest = hashlib.sha256(f"{topic}|{difficulty}|{place}".encode()).digest()
        aspect = aspects[digest[0] % len(aspects)]
        questions.append(
            {
                "id": place,
                "text": f"{place}. Which statement on the {aspect} of {topic} holds?",
                "options": [f"Statement {letter}" for letter in "ABCD"],
                "answer": digest[1] % 4,
            },
        )
    return questions


@routes.post("/api/generate-assessment")
async def generate_assessment(request: web.Request) -> web.Response:
    """Compose an assessment and keep it."""
    values = await validation.body(request, _ASSESSMENT)
    topic, difficulty = values["topic"], values["difficulty"]
    row = {
        "topic": topic,
        "difficulty": difficulty,
        "questions": json.dumps(compose(topic, difficulty, values["questions"])),
        "score": None,
    }
    written = await request.app[DATABASE].write(
        "INSERT INTO assessments (topic, difficulty, questions, score)"
        " VALUES (?, ?, ?, ?)",
        *row.values(),
    )
    return web.json_response(_assessment({"id": written.row_id, **row}), status=201)


@routes.get("/api/assessments")
async def list_assessments(request: web.Request) -> web.Response:
    """List assessments by id."""
    return await _list(request, "assessments", _assessment)


@routes.get(f"/api/assessments/{ONE}")
async def get_assessment(request: web.Request) -> web.Response:
    """Return one assessment."""
    query = "SELECT * FROM assessments WHERE id = ?"
    row = await request.app[DATABASE].row(query, _id(request))
    return web.json_response(_assessment(_found(row)))


@routes.post(f"/api/assessments/{ONE}/complete")
async def complete_assessment(request: web.Request) -> web.Response:
    """Record an assessment's score; a later one replaces it."""
    score = (await validation.body(request, _COMPLETION))["score"]
    statement = "UPDATE assessments SET score = ? WHERE id = ?"
    written = await request.app[DATABASE].write(statement, score, _id(request))
    if not written.rows:
        raise web.HTTPNotFound
    return web.json_response(
        {"id": _id(request), "score": score, "completed": True},
    )


@routes.get("/api/notes")
async def list_notes(request: web.Request) -> web.Response:
    """List notes by id."""
    return await _list(request, "notes", _note)


@routes.post("/api/notes")
async def create_note(request: web.Request) -> web.Response:
    """Create a note, with the embedding it is to be found by."""
    values = await validation.body(request, _NOTE)
    row = {
        "title": values["title"],
        "text": values["text"],
        "embedding": json.dumps(values["embedding"]),
    }
    written = await request.app[DATABASE].write(
        "INSERT INTO notes (title, text, embedding) VALUES (?, ?, ?)",
        *row.values(),
    )
    return web.json_response(_note({"id": written.row_id, **row}), status=201)


@routes.get(f"/api/notes/{ONE}")
async def get_note(request: web.Request) -> web.Response:
    """Return one note."""
    query = "SELECT * FROM notes WHERE id = ?"
    row = await request.app[DATABASE].row(query, _id(request))
    return web.json_response(_note(_found(row)))


@routes.delete(f"/api/notes/{ONE}")
async def delete_note(request: web.Request) -> web.Response:
    """Remove a note."""
    statement = "DELETE FROM notes WHERE id = ?"
    written = await request.app[DATABASE].write(statement, _id(request))
    if not written.rows:
        raise web.HTTPNotFound
    return web.Response(status=204)


def cosine(left: list[float], right: list[float]) -> float:
    """Return the cosine of two vectors' angle, 0 when either has no length."""
    lengths = math.hypot(*left), math.hypot(*right)
    if not all(lengths):
        return 0.0
    units = (
        [item / lengths[0] for item in left],
        [item / lengths[1] for item in right],
    )
    return math.fsum(a * b for a, b in zip(*units, strict=True))


def rank(rows: list[Row], wanted: list[float], limit: int) -> list[dict[str, Any]]:
    """Return the nearest notes first; notes of other dimensions are left out."""
    notes = [note for note in map(_note, rows) if len(note["embedding"]) == len(wanted)]
    items: list[dict[str, Any]] = [
        {"note": note, "score": cosine(note["embedding"], wanted)} for note in notes
    ]
    return sorted(items, key=itemgetter("score"), reverse=True)[:limit]


@routes.post("/api/notes/search")
async def search_notes(request: web.Request) -> web.Response:
    """Find the notes nearest to an embedding."""
    values = await validation.body(request, _SEARCH)
    rows = await request.app[DATABASE].rows("SELECT * FROM notes ORDER BY id")
    items = await asyncio.to_thread(rank, rows, values["embedding"], values["limit"])
    return web.json_response({"items": items})
