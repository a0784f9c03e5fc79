"""The section ``fields`` of a policy: from nodes to frozen fields.

A field whose values would not fit, or whose ciphertexts would tell what they hide, is
found here, at load: afterwards it would be found in the backend's data.

Nothing here knows a rule.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from proxy.core import mail_address, mode_deterministic, mode_random
from proxy.core import policy_values as values
from proxy.core.ciphertext import longest
from proxy.core.field import MIN_PASSWORD, Bind, Field, Mode, OnError, Step
from proxy.core.mode_pepper import LENGTH as PEPPERED_LENGTH
from proxy.core.mode_token import MIN_LENGTH as TOKEN_LENGTH
from proxy.core.policy_bindings import read_bind
from proxy.core.policy_keys import FIELD, required
from proxy.core.policy_sections import Section, named
from proxy.core.policy_values import Report, refuse
from proxy.core.yaml_source import Node, Scalar, Table

KEYS: Mapping[Mode, tuple[str, ...]] = {
    Mode.RANDOM: (
        "overhead",
        "max_length",
        "max_bytes",
        "reads",
        "on_error",
        "bind",
        "subject",
        "shared",
    ),
    Mode.DETERMINISTIC: (
        *("shape", "mail_domain", "normalise", "accept_leakage", "key"),
        *("max_length", "max_bytes", "reads", "on_error", "shared"),
    ),
    Mode.DIGITS: ("key", "shared"),
    Mode.PEPPER: ("key", "min_length", "max_length", "shared"),
    Mode.TOKEN: ("max_length", "max_bytes", "on_error", "shared"),
    Mode.FERNET: ("on_error",),
}
"""What a field of each mode may say besides its mode."""

MODES = tuple(mode.value for mode in Mode)
READABLE = (Mode.RANDOM.value, Mode.DETERMINISTIC.value, Mode.FERNET.value)
"""Modes whose older values a field can go on reading: those that are recognised."""

OVERHEADS = ("compact",)
SHAPES = ("email",)
STEPS = tuple(step.value for step in Step)
NO_STEPS = "none"
ON_ERROR = tuple(one.value for one in OnError)
KEY_ID = re.compile(r"[0-9a-f]{8}")

_LATER_MODES = ("vector",)
_USUAL = frozenset({Step.STRIP, Step.NFC})
_USUAL_OF_MAIL = _USUAL | {Step.LOWER}

# Words of fields that hold one of a few values, so that counting equal ciphertexts
# tells which is which.
_FEW_VALUES = frozenset(
    (
        *("active", "admin", "country", "enabled", "ethnicity", "gender", "grade"),
        *("kind", "language", "level", "locale", "month", "nationality", "plan"),
        *("race", "religion", "role", "sex", "state", "status", "tier", "type"),
        *("verified", "year"),
    )
)


def read_fields(report: Report, section: Section) -> dict[str, Field]:
    """Read the protected fields."""
    return named(report, section, _field)


def _field(report: Report, name: str, node: Node) -> Field:
    entries = report.entries(node, FIELD, required(FIELD))
    mode = report.read(entries.get("mode"), _mode, None)
    if mode is None or not isinstance(node, Table):
        return Field(id=name)
    for key in _foreign(node, mode):
        known = ", ".join(KEYS[mode]) or "nothing but mode"
        message = f"{key.text!r} is no key of mode {mode.value!r}"
        report.error(key.at, message, f"known: {known}")
    compact = report.read(entries.get("overhead"), _overhead, None) is not None
    domain = None
    if mode is Mode.DETERMINISTIC:
        domain = _mail_domain(report, node, entries)
    reads = report.choices(entries.get("reads"), "mode", READABLE)
    # With a shape, the same mode without one is another format.
    if mode.value in reads and not domain:
        report.error(entries["reads"].at, f"mode {mode.value!r} reads itself anyway")
    _leakage(report, name, node, mode, entries)
    return Field(
        id=name,
        mode=mode,
        compact=compact,
        mail_domain=domain,
        normalise=_steps(report, entries.get("normalise"), mode, domain),
        accept_leakage=report.read(
            entries.get("accept_leakage"), values.yes_or_no, False
        ),
        key=report.read(entries.get("key"), _key_id, None),
        reads=frozenset(Mode(word) for word in reads),
        max_bytes=_max_bytes(report, mode, entries, compact, domain),
        min_length=report.read(entries.get("min_length"), values.integer, MIN_PASSWORD),
        on_error=report.read(entries.get("on_error"), _on_error, OnError.FAIL),
        bind=_bind(report, mode, entries.get("bind")),
        subject=_bind(report, mode, entries.get("subject")),
        token_length=_token_length(report, mode, entries.get("max_length")),
        shared=report.read(entries.get("shared"), values.yes_or_no, False),
    )


def _mode(node: Node) -> Mode:
    scalar = values.written(node)
    if scalar.text in _LATER_MODES:
        message = f"mode {scalar.text!r} is not available in this version"
        raise refuse(node, message, f"known: {', '.join(sorted(MODES))}")
    return Mode(values.choice(node, "mode", MODES))


def _foreign(table: Table, mode: Mode) -> Iterator[Scalar]:
    """Yield the keys that other modes have."""
    for name in table.keys:
        if name in FIELD and name not in ("mode", *KEYS[mode]):
            yield table.key(name)


def _overhead(node: Node) -> str:
    return values.choice(node, "overhead", OVERHEADS)


def _mail_domain(report: Report, node: Node, entries: Mapping[str, Node]) -> str | None:
    shape = report.read(
        entries.get("shape"), lambda n: values.choice(n, "shape", SHAPES), None
    )
    if "mail_domain" not in entries:
        if shape:
            hint = "a domain of yours that has no other addresses"
            report.error(node.at, "'mail_domain' is missing", hint)
        return None
    if "shape" not in entries:
        at = entries["mail_domain"].at
        report.error(at, "'mail_domain' says nothing without a shape", "shape: email")
    return report.read(entries["mail_domain"], _domain, None)


def _domain(node: Node) -> str:
    scalar = values.as_scalar(node)
    complaint = mail_address.complaint_about(scalar.text)
    if complaint:
        raise refuse(node, f"{values.quoted(scalar)} {complaint}")
    return scalar.text


def _leakage(
    report: Report, name: str, node: Table, mode: Mode, entries: Mapping[str, Node]
) -> None:
    words = re.split(r"[._-]", name.lower())
    if mode is not Mode.DETERMINISTIC or "accept_leakage" in entries:
        return
    if _FEW_VALUES.intersection(words):
        report.error(
            node.values["mode"].at,
            f"{name!r} sounds like one of a few values, which equal ciphertexts tell",
            "mode: random, or accept_leakage: true",
        )


def _steps(
    report: Report, node: Node | None, mode: Mode, domain: str | None
) -> frozenset[Step]:
    if mode is not Mode.DETERMINISTIC:
        return frozenset()
    if node is None:
        return _USUAL_OF_MAIL if domain else _USUAL
    if isinstance(node, Scalar) and node.text == NO_STEPS:
        return frozenset()
    steps = frozenset(map(Step, report.choices(node, "step", STEPS)))
    if {Step.LOWER, Step.CASEFOLD} <= steps:
        report.error(node.at, "'casefold' does what 'lower' does, and more")
    return steps


def _bind(report: Report, mode: Mode, node: Node | None) -> Bind | None:
    # Of another mode it is reported as foreign, and that is enough.
    return report.read(node if mode is Mode.RANDOM else None, read_bind, None)


def _token_length(report: Report, mode: Mode, node: Node | None) -> int | None:
    if mode is not Mode.TOKEN:
        return None
    return report.read(node, values.integer, None)


def _on_error(node: Node) -> OnError:
    return OnError(values.choice(node, "word", ON_ERROR))


def _key_id(node: Node) -> int:
    scalar = values.written(node)
    if not KEY_ID.fullmatch(scalar.text):
        hint = "eight hex digits, as ciphertexts and findings name it"
        raise refuse(node, f"{values.quoted(scalar)} is not the id of a key", hint)
    return int(scalar.text, 16)


def _max_bytes(
    report: Report,
    mode: Mode,
    entries: Mapping[str, Node],
    compact: bool,
    domain: str | None,
) -> int | None:
    """Return the longest value; None for any length."""
    if "max_length" not in KEYS[mode]:
        return None
    characters = report.read(entries.get("max_length"), values.integer, None)
    most = report.read(entries.get("max_bytes"), values.integer, None)
    length_of = _length_of(mode, compact, domain)
    if domain:
        characters = min(characters or mail_address.MAX_LENGTH, mail_address.MAX_LENGTH)
    if characters is None:
        return most
    fits = longest(length_of, characters)
    at = entries["max_length"].at if "max_length" in entries else None
    if at and fits < 1:
        message = (
            f"no value fits: the shortest ciphertext has {length_of(1)} characters"
        )
        report.error(at, message)
    elif mode is Mode.PEPPER:
        return None
    elif mode is Mode.TOKEN:
        return most
    elif most is not None and most > fits:
        report.error(
            entries["max_bytes"].at,
            f"the ciphertext of {most} bytes has {length_of(most)} characters, "
            f"and {characters} is the most",
            f"at most {fits} bytes fit",
        )
    elif at and most is None:
        message = f"{characters} characters hold values of {fits} bytes at most"
        report.error(at, message, f"say max_bytes: {fits} or less; more is refused")
    return fits if most is None else most


def _length_of(mode: Mode, compact: bool, domain: str | None) -> Callable[[int], int]:
    """Return the function from bytes of a value to characters of its ciphertext."""
    if mode is Mode.RANDOM:
        return lambda n: mode_random.ciphertext_length(n, compact=compact)
    if mode is Mode.PEPPER:
        return lambda _: PEPPERED_LENGTH
    if mode is Mode.TOKEN:
        return lambda _: TOKEN_LENGTH
    if domain:
        return lambda n: mail_address.length(n, domain)
    return mode_deterministic.ciphertext_length
