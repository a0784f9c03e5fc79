"""A small policy to edit, and what two versions of it differ in, as text."""

from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.workbench.comparison import compare
from proxy.core.workbench.diff_changes import Direction

SECRETS = {"JWT_SECRET": "c0ffee" * 12, "NEXT": "decade" * 12}
POLICY = """\
version: 1
deployment: school
backends:
  lms: {servers: ["http://127.0.0.1:9000"], timeouts: {idle: 60s}}
  files: {servers: ["http://127.0.0.1:9001"]}
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [HS256]
    keys: [{kid: one, secret: "${JWT_SECRET}"}]
    roles: $.role
    leeway: 5s
roles: [student, teacher]
limits:
  login: {rate: 5/minute, per: client}
  api: {rate: {student: 100/hour, teacher: unlimited}}
fields: {name: {mode: random}, text: {mode: random}}
views:
  student: {name: plain, text: mask}
  teacher: {name: plain, text: plain}
rules:
  - id: login
    match: POST /login
    allow: anyone
    backend: lms
    limits: [login]
  - id: form
    match: POST /form
    allow: anyone
    backend: lms
    limits: [login]
  - id: note
    match: GET,PUT /notes/{id}
    allow: [student, teacher]
    backend: lms
    limits: [api]
    protect:
      request: {$.text: text}
      response: {$.name: name, $.text: text}
  - id: drop
    match: DELETE /notes/{id}
    allow: [teacher]
    backend: lms
  - id: file
    match: GET /files/{path...}
    allow: [teacher]
    backend: files
    tolerate: [semicolon]
    max_body: 1KiB
"""


def policy_of(text: str) -> Policy:
    """Compile a policy."""
    return parse_policy([("p.yaml", text)], SECRETS)[0]


def differences(old: str, new: str) -> tuple[list[str], list[str]]:
    """Return changes as ``sign area: text: requests`` and notes."""
    signs = {Direction.OPENS: "+", Direction.CLOSES: "-", Direction.CHANGES: "~"}
    found = compare(policy_of(old), policy_of(new))
    changes = []
    for change in found.changes:
        where = ", ".join(f"{one.methods} {one.path}" for one in change.requests)
        line = f"{signs[change.direction]} {change.area.value}: {change.text}"
        changes.append(f"{line}: {where}" if where else line)
    return changes, list(found.notes)


def edited(*edits: tuple[str, str]) -> str:
    """Return the policy with each text replaced, once."""
    text = POLICY
    for before, after in edits:
        assert text.count(before) >= 1, before
        text = text.replace(before, after, 1)
    return text


MORE = "    max_body: 1KiB\n"
"""The end of the policy: what a further rule is written after."""
