"""The guide to policies, and every policy that is shown, against the parser.

The guide shows each key once. What the parser knows is found by watching it read that
example, so that a new key or word is not forgotten.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping

import pytest

from proxy.core import (
    mode_deterministic,
    mode_random,
    policy_limits,
    policy_rules,
    policy_values,
)
from proxy.core.errors import Finding, PolicyError
from proxy.core.policy_parser import parse_policy
from proxy.core.policy_values import Report
from proxy.core.yaml_source import Listing, Node, Table, read_yaml, variables
from tests.documents import DOCUMENTS, Block, blocks, named, text_of

GUIDE = "policies/README.md"
SECRET = "a secret of this test, long enough for SHA-512: 64 bytes or more"
OF_THE_POLICY = {"backend", "field", "limit", "listener", "role"}
"""Words that a policy brings itself."""

BASE = {
    "backends": 'backends: {lms: {servers: ["http://127.0.0.1:9000"]}}',
    "issuers": """issuers:
  lumina:
    {issuer: lumina, audience: lms, algorithms: [HS256], secret: "${JWT_SECRET}",
     roles: $.role}""",
    "roles": "roles: [student, teacher, admin]",
    "limits": "limits: {api: {rate: 100/hour}}",
    "fields": "fields: {user.name: {mode: random}}",
    "rules": "rules: [{id: home, match: GET /, allow: anyone}]",
}
"""What a fragment is completed with, section by section, where it lacks one."""


SHOWN = [
    block
    for document in DOCUMENTS
    for block in blocks(named(document))
    if block.language == "yaml" and "/deploy/" not in block.where
]
"""Every policy, or part of one, that a document shows; a chart's values are none."""


def completed(text: str) -> str:
    """Return a whole policy with ``text`` in it."""
    if text.startswith("- "):
        text = "rules:\n" + re.sub(r"^", "  ", text, flags=re.MULTILINE)
    given = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    if "version" in given:
        return text
    rest = [part for section, part in BASE.items() if section not in given]
    return "\n".join(["version: 1", text, *rest])


def environment_of(text: str) -> Mapping[str, str]:
    """Return a value for every variable that has no default."""
    return {name: SECRET for name, default in variables(text) if default is None}


def findings_of(text: str) -> tuple[Finding, ...]:
    """Return what ``lumina-proxy check`` finds in a policy."""
    try:
        return parse_policy([("policy.yaml", text)], environment_of(text))[1]
    except PolicyError as error:
        return error.findings


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: block.where)
def test_shown_policies_pass_the_check(block: Block) -> None:
    """A whole policy has no finding; a part of one, completed, no error."""
    findings = findings_of(completed(block.text))
    whole = "version:" in block.text

    assert [one for one in findings if whole or one.severity == "error"] == []


def everything() -> str:
    """Return the guide's example of every key there is."""
    [text] = [one.text for one in blocks(GUIDE) if one.file == "everything.yaml"]
    return text


def place(node: Node) -> str:
    """Return where a node stands, names and numbers left out."""
    path = re.sub(r"\[\d+\]", "[]", node.at.path)
    path = re.sub(
        r"^(listeners|backends|issuers|limits|fields|views)(?:\.[\w-]+|\[\"[^]]+\])",
        r"\1.*",
        path,
    )
    return path.replace("rules[].limits[]", "limits.*")


def written(node: Node | None) -> Iterator[tuple[str, str]]:
    """Yield place and name of every key of a document."""
    if isinstance(node, Table):
        for name, value in node.values.items():
            yield place(node), name
            yield from written(value)
    elif isinstance(node, Listing):
        for item in node.items:
            yield from written(item)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, set[str]]:
    """By place, the keys that the parser knows; by "what", the words it knows."""
    seen: dict[str, set[str]] = defaultdict(set)
    entries, choice = Report.entries, policy_values.choice

    def watched_entries(
        self: Report,
        node: Node | None,
        known: Collection[str] = (),
        required: Collection[str] = (),
    ) -> Mapping[str, Node]:
        if isinstance(node, Table) and not place(node).endswith(".rate"):
            seen[place(node)].update(known)
        return entries(self, node, known, required)

    def watched_choice(node: Node, what: str, known: Collection[str]) -> str:
        seen[f"a word for {what}"].update(known)
        return choice(node, what, known)

    monkeypatch.setattr(Report, "entries", watched_entries)
    monkeypatch.setattr(policy_values, "choice", watched_choice)
    assert findings_of(everything()) == ()
    return seen


def test_the_guide_has_every_key(known: Mapping[str, set[str]]) -> None:
    """The example of every key has every key that the parser knows, and no other."""
    text = everything()
    root, _ = read_yaml("everything.yaml", text, environment_of(text))
    documented: dict[str, set[str]] = defaultdict(set)
    for where, name in written(root):
        documented[where].add(name)
    expected = {
        where: keys
        for where, keys in known.items()
        if keys and not where.startswith("a word")
    }

    assert {where: documented[where] for where in expected} == expected


def test_the_guide_has_every_word(known: Mapping[str, set[str]]) -> None:
    """Algorithms, methods, views, ambiguities, units: each is in the guide."""
    text = text_of(GUIDE)
    closed = {
        word
        for what, words in known.items()
        if what.startswith("a word") and what.split()[-1] not in OF_THE_POLICY
        for word in words
    }
    units = {*policy_values._BYTES, *policy_values._MICROSECONDS} - {""}
    words = {*closed, *policy_rules.METHODS, *policy_limits.PERIODS}
    lacking = {
        word
        for word in words
        if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)
    }
    lacking |= {unit for unit in units if not re.search(rf"`(?:\d+)?{unit}`", text)}

    assert lacking == set()
    assert len(closed) > 20


@pytest.mark.parametrize(
    ("overhead", "room", "length_of"),
    [
        (79, 30, mode_random.ciphertext_length),
        (47, 62, lambda n: mode_random.ciphertext_length(n, compact=True)),
        (23, 86, mode_deterministic.ciphertext_length),
    ],
    ids=["random", "compact", "deterministic"],
)
def test_a_column_has_room_for_what_the_guide_says(
    overhead: int, room: int, length_of: Callable[[int], int]
) -> None:
    """The guide's formulas for the length of a ciphertext are the modes'."""
    text = " ".join(text_of(GUIDE).split())

    assert f"4 + ⌈(N + {overhead}) · 4/3⌉" in text
    assert "A column of 150 characters has room for 30, 62 and 86 bytes" in text
    assert length_of(room) <= 150 < length_of(room + 1)
    assert [length_of(n) for n in range(90)] == [
        4 + math.ceil((n + overhead) * 4 / 3) for n in range(90)
    ]
