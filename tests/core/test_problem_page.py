"""The page that a refusal is for people."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.problem_page import page_body, page_lines
from proxy.core.reasons import Reason


class Page(HTMLParser):
    """What a browser would make of a page.

    Attributes:
        texts: the text of each element, by its tag.
        tags: every tag that begins, with its attributes.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.tags: list[str] = []
        self._open = [""]
        self.feed(body.decode("ascii"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)
        if tag != "meta":
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        """Every element is closed where it should be."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        if self._open[-1]:
            self.texts[self._open[-1]][-1] += data


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_every_reason_makes_a_page(reason: Reason) -> None:
    """Status, title, reason, rule and id are there, and nothing that does anything."""
    refused = Refused(reason, "At byte 7.")
    page = Page(page_body(refused, rule="login", request_id="ab-1"))

    assert page.texts["h1"][0].startswith(f"{reason.status} ")
    assert page.texts["title"] == page.texts["h1"]
    assert page.texts["p"] == [reason.title, "At byte 7."]
    assert page.texts["code"] == [reason.slug, "login", "ab-1"]
    assert not {"script", "img", "link", "a", "form", "iframe"} & set(page.tags)


def test_what_is_not_known_is_not_shown() -> None:
    """Neither an empty detail nor a rule that did not match."""
    page = Page(page_body(Refused(Reason.NO_RULE), rule="", request_id="ab-1"))

    assert len(page.texts["p"]) == 1
    assert page.texts["dt"] == ["Reason", "Request"]


@given(st.text(), st.text(), st.text())
def test_no_text_becomes_markup(detail: str, rule: str, request_id: str) -> None:
    """What came from outside is text, whatever it looks like."""
    body = page_body(Refused(Reason.NO_RULE, detail), rule=rule, request_id=request_id)
    plain = page_body(Refused(Reason.NO_RULE, "x"), rule="x", request_id="x")
    tags = Page(body).tags

    assert set(tags) == set(Page(plain).tags)
    assert tags.count("code") == 1 + bool(rule) + bool(request_id)


def test_lines_let_the_page_do_nothing() -> None:
    """The policy allows its own style, by its digest, and nothing else."""
    refused = Refused(Reason.RATE_LIMITED, headers=(("Retry-After", "12"),))
    body = page_body(refused, rule="login", request_id="ab-1")
    [style] = Page(body).texts["style"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    lines = b"".join(page_lines(refused, request_id="ab-1")).decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if line)

    assert fields == {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Request-ID": "ab-1",
        "Retry-After": "12",
    }
    assert not re.search(rb"https?://", body)
