"""What is logged of a request, and what never is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.access_line import KEYS, USUAL_KEYS, JsonLine, Stamp, TextLine
from proxy.core.exchange import Exchange
from proxy.core.reasons import Reason

SERVED = "GET /api/users/42  [user teacher 192.0.2.1]"
YELLOW, RED = "\x1b[33m", "\x1b[31m"
WALL = 1_795_521_600.25  # 2026-11-24T12:00:00.25Z


def an_exchange() -> Exchange:
    """Return a request that was served in 3 ms, 2 of them the backend's."""
    exchange = Exchange("GET", 10.0, "192.0.2.1")
    exchange.request_id = "4f-1"
    exchange.path = "/api/users/42"
    exchange.rule, exchange.role, exchange.subject = "user", "teacher", "ada"
    exchange.status = 200
    exchange.admitted, exchange.taken = 10.0001, 10.0003
    exchange.upstream_started, exchange.upstream_seconds = 10.0005, 0.002
    exchange.ended, exchange.aborted = 10.003, False
    return exchange


def refused(reason: Reason) -> Exchange:
    """Return a request that was refused."""
    exchange = an_exchange()
    exchange.reason, exchange.status = reason, reason.status
    return exchange


def test_line_is_one_json_object() -> None:
    """Every key is there, in its order; durations are seconds."""
    line = JsonLine(KEYS)(an_exchange(), WALL)

    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "time": "2026-11-24T12:00:00.250Z",
        "request_id": "4f-1",
        "client": "192.0.2.1",
        "method": "GET",
        "path": "/api/users/42",
        "status": 200,
        "rule": "user",
        "role": "teacher",
        "subject": "ada",
        "reason": None,
        "shadow": None,
        "stage": None,
        "policy": "",
        "seconds": 0.003,
        "upstream_seconds": 0.002,
        "own_seconds": 0.001,
        "decide_seconds": 0.0001,
        "take_seconds": 0.0002,
        "encrypt_seconds": 0.0002,
        "answer_seconds": 0.0005,
        "aborted": False,
    }
    assert tuple(json.loads(line)) == KEYS


def test_subject_is_logged_only_when_asked_for() -> None:
    """Whose request it was is left out where the policy does not say."""
    line = JsonLine()(an_exchange(), WALL)

    assert b"ada" not in line
    assert tuple(json.loads(line)) == USUAL_KEYS


def test_stages_that_were_not_passed_took_no_time() -> None:
    """A request that was refused at its limits has the time of what came before."""
    exchange = refused(Reason.RATE_LIMITED)
    exchange.taken = exchange.upstream_started = exchange.upstream_seconds = 0.0
    line = json.loads(JsonLine(KEYS)(exchange, WALL))
    stages = [line[f"{one}_seconds"] for one in ("decide", "take", "encrypt", "answer")]

    assert stages == [0.0001, None, None, None]


def test_nothing_but_the_chosen_keys_is_logged() -> None:
    """The keys are an allow-list; the time is always there."""
    line = JsonLine(["status", "rule"])(an_exchange(), WALL)

    assert list(json.loads(line)) == ["time", "status", "rule"]


def test_reasons_are_named() -> None:
    """Why a request was refused, or would have been, is in its line."""
    exchange = refused(Reason.RATE_LIMITED)
    exchange.shadow = Reason.TOKEN_MISSING
    exchange.aborted = True
    line = json.loads(JsonLine()(exchange, WALL))

    assert (line["status"], line["reason"]) == (429, Reason.RATE_LIMITED.slug)
    assert (line["shadow"], line["aborted"]) == (Reason.TOKEN_MISSING.slug, True)
    assert line["stage"] == "limits"


@given(st.text(), st.text())
def test_line_is_json_whatever_is_in_it(path: str, client: str) -> None:
    """Control characters, quotes and lone surrogates neither break nor forge a line."""
    exchange = an_exchange()
    exchange.path, exchange.client = path, client
    line = JsonLine()(exchange, WALL)

    assert line.count(b"\n") == 1
    assert json.loads(line)["path"] == path
    assert json.loads(line)["client"] == client


@given(st.text())
def test_text_is_one_line_whatever_is_in_it(path: str) -> None:
    """No control character reaches a terminal."""
    exchange = an_exchange()
    exchange.path = path
    line = TextLine()(exchange, WALL).decode()

    assert line.endswith("\n")
    assert line[:-1].isprintable()


@pytest.mark.parametrize(
    ("exchange", "expected"),
    [
        (
            an_exchange(),
            f"12:00:00.250 200     3.00 ms  {SERVED}\n",
        ),
        (
            refused(Reason.RATE_LIMITED),
            f"12:00:00.250 429     3.00 ms  {SERVED}  rate-limited\n",
        ),
        (
            Exchange(),
            "12:00:00.250 ---     0.00 ms  ? ?  [no rule]\n",
        ),
    ],
    ids=["served", "refused", "unread"],
)
def test_text_is_for_people(exchange: Exchange, expected: str) -> None:
    """A line at a terminal says what was asked, by whom, and what came of it."""
    assert TextLine()(exchange, WALL).decode() == expected


def test_text_names_what_shadow_mode_let_pass() -> None:
    """What would have been refused is marked."""
    exchange = an_exchange()
    exchange.shadow = Reason.TOKEN_MISSING

    assert TextLine()(exchange, WALL).endswith(b"  token-missing (shadow)\n")


def test_text_has_the_subject_where_the_policy_asks_for_it() -> None:
    """The same keys rule both styles."""
    assert b"192.0.2.1 ada]" in TextLine(KEYS)(an_exchange(), WALL)


@pytest.mark.parametrize(
    ("status", "colour"),
    [(200, ""), (404, "\x1b[33m"), (502, "\x1b[31m"), (0, "\x1b[31m")],
)
def test_colours_mark_what_went_wrong(status: int, colour: str) -> None:
    """Yellow is the client's doing, red ours or the backend's."""
    exchange = an_exchange()
    exchange.status = status
    line = TextLine(colours=True)(exchange, WALL).decode()

    assert line.startswith(colour or "12:")
    assert ("\x1b[0m" in line) == bool(colour)


def test_stamp_keeps_its_second() -> None:
    """The text of a second is made once, and is right in the next one."""
    stamp = Stamp()
    texts = [stamp.of(WALL + step) for step in (0.0, 0.5, 0.75, 60.0)]

    assert [text[14:] for text in texts] == [
        *("00:00.250Z", "00:00.750Z", "00:01.000Z", "01:00.250Z"),
    ]
