"""The workbench and the running proxy say the same."""

import collections
import http.client
import json
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.workbench.cases import Case, read_cases
from proxy.core.workbench.decision import decide
from tests.e2e.conftest import ROOT, Stack

SECRET = "c0ffee" * 12
PLENTY = {"RATE_LIMIT_AUTH": "1000/minute", "RATE_LIMIT_API": "1000/hour"}

Decided = tuple[str, str, str]
"""(rule, role, reason), as ``lumina_decisions`` has them."""


@pytest.fixture(name="running")
def running_fixture(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose tokens we can make, with limits that let all cases pass."""
    stack = Stack(tmp_path, {"JWT_SECRET": SECRET, **PLENTY})
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def ask(stack: Stack, case: Case) -> tuple[int, str, str]:
    """Send a case to the proxy; return status, reason and RateLimit-Policy."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.data, timeout=10)
    try:
        connection.putrequest(case.method, case.path, skip_accept_encoding=True)
        role = case.asking.removeprefix("as ")
        if role != "anyone":
            connection.putheader("Authorization", f"Bearer {token(role)}")
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        response = connection.getresponse()
        policy = response.headers.get("RateLimit-Policy", "")
        if response.headers.get_content_type() != "application/problem+json":
            return response.status, "", policy
        body = response.read()
        reason = json.loads(body).get("reason", "") if body else ""
        return response.status, reason, policy
    finally:
        connection.close()


def token(role: str) -> str:
    """Return a token of one role."""
    claims = {"iss": "lumina", "aud": "lms", "sub": role, "role": role}
    return jwt.encode({**claims, "exp": time.time() + 60}, SECRET, algorithm="HS256")


def counted(stack: Stack) -> collections.Counter[Decided]:
    """Return how often the proxy decided what."""
    url = f"http://127.0.0.1:{stack.metrics}/metrics"
    with urllib.request.urlopen(url, timeout=5) as response:
        text = response.read().decode()
    counts: collections.Counter[Decided] = collections.Counter()
    for labels, count in re.findall(
        r"^lumina_decisions_total\{(.*)\} (\S+)$", text, re.MULTILINE
    ):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        counts[named["rule"], named["role"], named["reason"]] += int(float(count))
    return counts


def test_running_proxy_decides_what_the_cases_say(running: Stack) -> None:
    """Each request of lms.test.yaml meets the rule, role, limits and reason told."""
    policy, cases = shipped()
    expected: collections.Counter[Decided] = collections.Counter()

    for case in cases:
        told = decide(policy, case.method, case.path, case.identify)
        status, reason, quota = ask(running, case)
        about = f"{case.method} {case.path} {case.asking}"
        slug = told.reason.slug if told.reason else ""
        assert (reason, about) == (slug, about)
        if told.reason:
            assert (status, about) == (told.reason.status, about)
        limits = [take.id for take in told.takes]
        assert (re.findall(r'"([^"]+)"', quota), about) == (limits, about)
        rule = told.rule.id if told.rule else ""
        roles = told.principal.roles if told.principal else ()
        # Who may not is counted as who it was.
        expected[rule, told.role or policy.known_role(roles), slug or "served"] += 1
    # A stream is counted when it is over, which the proxy learns in its own time.
    assert without_streams(counted(running)) == without_streams(expected)


def without_streams(
    counts: collections.Counter[Decided],
) -> dict[Decided, int]:
    """Return the counts of rules whose answers end by themselves."""
    return {key: count for key, count in counts.items() if key[0] != "events"}


def shipped() -> tuple[Policy, list[Case]]:
    """Return the policy that is delivered, and its cases that say as whom."""
    environment = {**os.environ, "JWT_SECRET": SECRET, **PLENTY}
    texts = [(ROOT / "policies" / name).read_text("utf-8") for name in FILES]
    policy, _ = parse_policy([(FILES[0], texts[0])], environment)
    cases, findings = read_cases(policy, FILES[1], texts[1], {}, time.time())
    assert findings == ()
    return policy, [case for case in cases if case.asking.startswith("as ")]


FILES = ("lms.yaml", "lms.test.yaml")
