"""How issuers, backends and further keys of rules differ."""

import dataclasses

import pytest

from proxy.core.limit import Per
from proxy.core.workbench import diff_parts
from proxy.core.workbench.comparison import compare
from tests.core.differences import POLICY, SECRETS, differences, edited, policy_of

EDITS = [
    pytest.param(
        [
            (
                "deployment: school",
                (
                    "deployment: school\nlisteners:\n"
                    "  default: {proxy_protocol: true, tls: {certificate: /t.pem}}\n"
                    '  egress: {listen: "127.0.0.1:8081"}'
                ),
            )
        ],
        [
            (
                "~ backends: tls of the listener default: none -> certificate /t.pem, "
                "key none, tls_1_2 no"
            ),
            "~ backends: proxy_protocol of the listener default: no -> yes",
            "~ backends: the listener egress is new",
        ],
        id="listener",
    ),
    pytest.param(
        [("deployment: school", "deployment: school\nhealth: none")],
        ["~ backends: where the data port answers for itself: /health -> none"],
        id="own-health",
    ),
    pytest.param(
        [("deployment: school", "deployment: college")],
        [
            (
                "~ plaintext: the deployment school is college: what was stored no "
                "longer decrypts"
            )
        ],
        id="deployment",
    ),
    pytest.param(
        [("issuer: lumina", "issuer: other")],
        [
            "+ issuers: other is trusted",
            "- issuers: lumina is no longer trusted",
        ],
        id="issuer",
    ),
    pytest.param(
        [("[HS256]", "[HS256, HS512]"), ("leeway: 5s", "leeway: 1s")],
        [
            "+ issuers: algorithms of lumina: HS256 -> HS256 and HS512",
            "- issuers: leeway of lumina: 5s -> 1s",
        ],
        id="algorithm",
    ),
    pytest.param(
        [("audience: lms", "audience: files"), ("$.role", "$.realm.role")],
        [
            "~ issuers: audience of lumina: lms -> files",
            "~ issuers: roles of lumina: role -> realm and role",
        ],
        id="audience",
    ),
    pytest.param(
        [("${JWT_SECRET}", "${NEXT}")],
        ["~ issuers: the key one of lumina is another one"],
        id="key",
    ),
    pytest.param(
        [("kid: one", "kid: two")],
        [
            "+ issuers: the key two of lumina is new",
            "- issuers: the key one of lumina is no longer there",
        ],
        id="kid",
    ),
    pytest.param(
        [("idle: 60s", "idle: 5s"), ("127.0.0.1:9001", "10.0.0.1:80")],
        [
            "~ backends: timeouts.idle of the backend lms: 60s -> 5s",
            "~ backends: servers of the backend files: 127.0.0.1:9001 -> 10.0.0.1:80",
        ],
        id="backend",
    ),
    pytest.param(
        [("idle: 60s}", "idle: 60s}, health: {path: /h, every: 5s}")],
        [
            (
                "~ backends: health of the backend lms: none -> path /h, every 5s, "
                "timeout 2s, host none, down_after 2, up_after 1"
            )
        ],
        id="health",
    ),
    pytest.param(
        [
            (
                'servers: ["http://127.0.0.1:9001"]',
                (
                    'servers: ["https://h:1", "unix:/s"], retry: never, '
                    "balance: round-robin, eject: none, tls: {verify: none}"
                ),
            )
        ],
        [
            (
                "~ backends: servers of the backend files: 127.0.0.1:9001 -> "
                "https://h:1 and unix:/s"
            ),
            (
                "~ backends: balance of the backend files: least-outstanding -> "
                "round-robin"
            ),
            (
                "~ backends: ejection of the backend files: after 5, seconds 10s, "
                "at_most none -> none"
            ),
            "~ backends: retry of the backend files: yes -> no",
            "~ backends: tls.verify of the backend files: full -> none",
        ],
        id="backend-of-several",
    ),
    pytest.param(
        [("    max_body: 1KiB\n", "    max_body: 1KiB\n    timeouts: {idle: 5s}\n")],
        [
            (
                "~ rules: timeouts: none -> connect 2s, first_byte 30s, idle 5s: "
                "GET /files/{path...}"
            )
        ],
        id="timeouts-of-rule",
    ),
    pytest.param(
        [
            (
                "  files: {servers",
                '  spare: {servers: ["http://h:1"]}\n  files: {servers',
            )
        ],
        ["~ backends: the backend spare is new"],
        id="backend-added",
    ),
    pytest.param(
        [("backend: lms\n    limits: [login]", "backend: files\n    limits: [login]")],
        ["~ backends: requests go to files, no longer to lms: POST /login"],
        id="backend-of-rule",
    ),
    pytest.param(
        [("max_body: 1KiB", "max_body: 2KiB"), ("[semicolon]", "[backslash]")],
        [
            "+ rules: paths with backslash are let pass: GET /files/{path...}",
            "+ rules: the largest body: 1024 bytes -> 2048 bytes: GET /files/{path...}",
            "- rules: paths with semicolon are refused: GET /files/{path...}",
        ],
        id="tolerate-and-size",
    ),
    pytest.param(
        [("    max_body: 1KiB\n", "    count: lumina_files_total\n")],
        [
            (
                "~ rules: the largest body: 1024 bytes -> the limit of the process: "
                "GET /files/{path...}"
            ),
            "~ rules: count: none -> lumina_files_total: GET /files/{path...}",
        ],
        id="count",
    ),
    pytest.param(
        [
            ("max_body: 1KiB", "max_body: 1KiB\n    upgrade: [websocket, a]"),
        ],
        [
            "+ rules: connections may become a: GET /files/{path...}",
            "+ rules: connections may become websocket: GET /files/{path...}",
        ],
        id="upgrade",
    ),
]

_UPGRADE = "    upgrade: {protocols: [a], idle: %s, close_on_expiry: %s}\n"
UPGRADES = [
    pytest.param(
        (_UPGRADE % ("5m", "true"), _UPGRADE % ("1h", "false")),
        [
            (
                "+ rules: tunnels outlive the token they were opened with: "
                "GET /files/{path...}"
            ),
            "+ rules: idle tunnels end: after 300s -> 3600s: GET /files/{path...}",
        ],
        id="loosened",
    ),
    pytest.param(
        (_UPGRADE % ("1h", "false"), _UPGRADE % ("5m", "true")),
        [
            (
                "- rules: tunnels end with the token they were opened with: "
                "GET /files/{path...}"
            ),
            "- rules: idle tunnels end: after 3600s -> 300s: GET /files/{path...}",
        ],
        id="tightened",
    ),
    pytest.param(
        ("    upgrade: [a, b]\n", "    upgrade: [b]\n"),
        ["- rules: connections may not become a: GET /files/{path...}"],
        id="one protocol less",
    ),
    pytest.param(
        ("    upgrade: [a]\n", ""),
        ["- rules: connections may not become a: GET /files/{path...}"],
        id="none any more",
    ),
]


@pytest.mark.parametrize(("both", "expected"), UPGRADES)
def test_upgrades_are_compared(both: tuple[str, str], expected: list[str]) -> None:
    """More protocols and longer tunnels open something, less close it."""
    size = "    max_body: 1KiB\n"
    old, new = (edited((size, size + one)) for one in both)

    assert differences(old, new) == (expected, [])


@pytest.mark.parametrize(("edits", "expected"), EDITS)
def test_part_is_compared_key_by_key(
    edits: list[tuple[str, str]], expected: list[str]
) -> None:
    """Each key of an issuer, a backend or a rule that differs is a change."""
    assert differences(POLICY, edited(*edits)) == (expected, [])


def test_backend_that_is_gone_is_told() -> None:
    """A backend that no rule needs any more is no longer there."""
    spare = edited(("  files:", '  spare: {servers: ["http://h:1"]}\n  files:'))

    assert differences(spare, POLICY)[0] == [
        "~ backends: the backend spare is no longer there"
    ]


def test_field_that_differs_is_told() -> None:
    """A field whose values are encrypted otherwise is a change, key by key."""
    policy = policy_of(POLICY)
    other = dataclasses.replace(policy.fields["name"], id="else")
    new = dataclasses.replace(policy, fields={**policy.fields, "name": other})

    assert [one.text for one in compare(policy, new).changes] == [
        "id of the field name: name -> else"
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(Per.CLIENT, "client"), (object(), "something"), (b"a key", "something")],
    ids=["enum", "object", "bytes"],
)
def test_only_what_is_harmless_is_shown(value: object, shown: str) -> None:
    """A value of a kind that could be a key is called something."""
    assert diff_parts._shown(value) == shown


def test_secrets_are_compared_and_not_shown() -> None:
    """A replaced secret is a change, whose value is nowhere."""
    found = compare(policy_of(POLICY), policy_of(edited(("${JWT_SECRET}", "${NEXT}"))))

    assert len(found.changes) == 1
    assert not any(secret in repr(found) for secret in SECRETS.values())
