"""What a sound policy may still risk: lints for whoever has to answer for it.

``check`` says what is wrong or forgotten. What is here is neither: each lint is a
question that a reviewer asks, and a policy may have a good answer. So each has a name
by which it can be left out.
"""

import dataclasses
import enum
import re
from collections.abc import Iterator

from proxy.core.errors import Finding
from proxy.core.policy import Policy, Rule, View
from proxy.core.policy_lint import Draft
from proxy.core.yaml_source import Node, Place, Table


class Lint(enum.Enum):
    """A question about a policy.

    Attributes:
        slug: the name to leave it out by.
        severity: "warning" for what is seldom meant, "note" for what often is.
        why: what can happen.
    """

    CATCH_ALL = (
        "catch-all",
        "warning",
        "a rule for every path also allows what nobody has thought of",
    )
    EVERY_METHOD = (
        "every-method",
        "note",
        "* allows methods that the service may understand and nobody has thought of",
    )
    UNLIMITED_WRITE = (
        "unlimited-write",
        "warning",
        "what anyone may write without a limit fills disks and guesses passwords",
    )
    GENEROUS_LOGIN = (
        "generous-login",
        "warning",
        "passwords are guessed as fast as this lets one",
    )
    SECOND_DOOR = (
        "second-door",
        "warning",
        "two doors to one thing with a limit each give twice the guesses",
    )
    LARGE_ANONYMOUS_BODY = (
        "large-anonymous-body",
        "note",
        "anyone may send as much as the process takes",
    )
    PERSONAL_PATH = (
        "personal-path",
        "warning",
        "what stands in a path is in every log on the way, and no policy encrypts it",
    )
    UNPROTECTED_PERSON = (
        "unprotected-person",
        "warning",
        "the path is about people, and nothing of what passes is protected",
    )
    WRITTEN_IN_CLEAR = (
        "written-in-clear",
        "warning",
        "a value that is decrypted on the way back is not encrypted on the way in",
    )
    CIPHERTEXT_SHOWN = (
        "ciphertext-shown",
        "note",
        "an answer that repeats the value shows its ciphertext",
    )
    PLAIN_FOR_ANYONE = (
        "plain-for-anyone",
        "warning",
        "whoever finds the address reads a protected value",
    )
    SECRET_IN_FILE = (
        "secret-in-file",
        "warning",
        "a secret that is in a file is in its history, its copies and its backups",
    )
    GUESSABLE_SECRET = (
        "guessable-secret",
        "warning",
        "one token is enough to try secrets until one fits",
    )
    SHARED_SECRET = (
        "shared-secret",
        "note",
        "whoever can verify with a shared secret can sign with it, too",
    )
    SHORT_KEY = ("short-key", "note", "RSA keys of under 3072 bits are due by 2030")
    LONG_LEEWAY = (
        "long-leeway",
        "warning",
        "an expired or stolen token counts that much longer",
    )
    TUNNEL_OUTLIVES_TOKEN = (
        "tunnel-outlives-token",
        "note",
        "whoever is inside stays inside, whatever becomes of the token",
    )
    WORD_FOR_ALL = (
        "word-for-all",
        "warning",
        "the role reads as if it were everybody, and is a role like any other",
    )
    BACKEND_IN_CLEAR = (
        "backend-in-clear",
        "note",
        "http to another machine can be read and changed on the way",
    )
    BACKEND_UNVERIFIED = (
        "backend-unverified",
        "warning",
        "whoever is on the way to the backend can be the backend",
    )
    LISTENER_IN_CLEAR = (
        "listener-in-clear",
        "note",
        "what other machines send without TLS can be read and changed on the way",
    )
    NOT_ENFORCED = (
        "not-enforced",
        "note",
        "who forgets that a rule is in shadow mode leaves a door open",
    )
    DEFAULT_DEPLOYMENT = (
        "default-deployment",
        "note",
        "deployments of one name and key can read each other's values",
    )

    def __init__(self, slug: str, severity: str, why: str) -> None:
        self.slug = slug
        self.severity = severity
        self.why = why


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """What a lint found.

    Attributes:
        lint: which.
        at: where.
        message: what it found, in words.
    """

    lint: Lint
    at: Place
    message: str

    @property
    def finding(self) -> Finding:
        """The risk as findings are printed."""
        text = f"{self.lint.slug}: {self.message}"
        return self.at.finding(text, self.lint.why, self.lint.severity)


Found = Iterator[tuple[Lint, Node, str]]
"""Lint, where, and what it found."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"})

_PERSONAL = frozenset(
    (
        *("birth", "birthday", "birthdate", "dob", "email", "firstname", "fullname"),
        *("iban", "lastname", "mail", "mobile", "passport", "phone", "ssn"),
        *("surname", "telephone", "username"),
    )
)
_PEOPLE = frozenset(
    (
        *("account", "contact", "customer", "employee", "guardian", "learner"),
        *("member", "parent", "patient", "people", "person", "profile", "pupil"),
        *("register", "signup", "staff", "student", "teacher", "user"),
    )
)
_DOORS = frozenset(("login", "logon", "otp", "password", "session", "signin", "token"))


def words_of(name: str) -> frozenset[str]:
    """Return the words of a name, in lower case, and what they are together.

    A plural has its singular, too: ``userEmails`` has user, email and emails.
    """
    spread = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words = re.split(r"[^a-z0-9]+", spread.lower())
    words.append("".join(words))
    return frozenset(words) | {word.removesuffix("s") for word in words}


def literal_words(rule: Rule) -> frozenset[str]:
    """Return the words of what a path spells out."""
    literals = (part for part in rule.pattern.segments if part)
    return frozenset(word for part in literals for word in words_of(part))


def writes(rule: Rule) -> bool:
    """Say whether a rule lets requests through that change something."""
    return not rule.methods or not rule.methods <= SAFE


def is_door(rule: Rule) -> bool:
    """Say whether a rule looks like a place to try passwords at."""
    words = literal_words(rule) | words_of(rule.id)
    return rule.allow is None and writes(rule) and bool(words & _DOORS)


def lint_paths(policy: Policy, draft: Draft) -> Found:
    """Look at what rules match."""
    for table, rule in draft.rules:
        at = table.values["match"]
        if rule.pattern.rest and not any(rule.pattern.segments):
            yield Lint.CATCH_ALL, at, f"{rule.pattern.text} is every path"
        if not rule.methods:
            yield Lint.EVERY_METHOD, at, f"{rule.id} is for every method"
        for name in rule.pattern.params:
            if found := words_of(name) & _PERSONAL:
                message = f"{{{name}}} looks personal ({min(found)})"
                yield Lint.PERSONAL_PATH, at, message
        if rule.upgrade and not rule.upgrade.close_on_expiry:
            message = f"{rule.id} does not close on expiry"
            yield Lint.TUNNEL_OUTLIVES_TOKEN, table.values["upgrade"], message
        bare = rule.protect_request is None and rule.protect_response is None
        people = literal_words(rule) & _PEOPLE
        if policy.fields and bare and people and rule.methods != {"DELETE"}:
            message = f"{rule.id} is about people ({min(people)})"
            yield Lint.UNPROTECTED_PERSON, at, message


def lint_protection(policy: Policy, draft: Draft) -> Found:
    """Look at values that are protected one way only."""
    decrypted: dict[object, dict[str, str]] = {}
    for rule in policy.rules:
        shape = rule.pattern.segments, rule.pattern.rest
        decrypted.setdefault(shape, {}).update(_places(rule, "response"))
    for table, rule in draft.rules:
        at = table.values.get("protect", table.values["match"])
        encrypted = _places(rule, "request")
        shape = rule.pattern.segments, rule.pattern.rest
        if not rule.methods or rule.methods & {"PUT", "PATCH"}:
            for place, field in decrypted[shape].items():
                if place not in encrypted:
                    message = f"{place} ({field}) is written as it is by {rule.id}"
                    yield Lint.WRITTEN_IN_CLEAR, at, message
        for place, field in encrypted.items():
            if place not in _places(rule, "response"):
                message = f"{place} ({field}) is only encrypted by {rule.id}"
                yield Lint.CIPHERTEXT_SHOWN, at, message
        if rule.allow is None and (not rule.methods or "GET" in rule.methods):
            for field in sorted(set(_places(rule, "response").values())):
                if policy.view(None, field) is View.PLAIN:
                    message = f"anyone reads {field} by {rule.id}"
                    yield Lint.PLAIN_FOR_ANYONE, at, message


def _places(rule: Rule, body: str) -> dict[str, str]:
    both = {"request": rule.protect_request, "response": rule.protect_response}
    selection = both[body]
    return dict(selection.places) if selection else {}


def where(table: Table, key: str, otherwise: str) -> Node:
    """Return the value of a key, or of another when it is not there."""
    return table.values.get(key, table.values[otherwise])
