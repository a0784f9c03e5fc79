"""The YAML of security teams, compiled to a ``Policy``; or every finding at once.

A folder is one policy: its files are read one by one, their sections are laid together,
then each section is turned into frozen objects, and what only the whole can tell is
looked for last. Nothing is allowed by omission: an unknown key, a missing rate or a
rule that two files define refuse the policy.

The file order decides nothing but the order of findings. Nothing here opens a file.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

from proxy.core import policy_values as values
from proxy.core.errors import Finding, PolicyError
from proxy.core.listeners import DEFAULT_LISTENER
from proxy.core.policy import Policy, Rule
from proxy.core.policy_backends import read_backends
from proxy.core.policy_fields import read_fields
from proxy.core.policy_guards import read_addresses, read_shadow
from proxy.core.policy_issuers import claim_path, read_issuers
from proxy.core.policy_keys import DOCUMENT, required
from proxy.core.policy_limits import LIMIT_HEADERS, read_backend_limits, read_limits
from proxy.core.policy_lint import Draft, find_contradictions, find_omissions
from proxy.core.policy_listeners import read_listeners
from proxy.core.policy_logins import read_logins
from proxy.core.policy_observing import read_logging
from proxy.core.policy_responses import read_responses
from proxy.core.policy_roles import read_roles
from proxy.core.policy_rules import Known, hardening_of, read_rule
from proxy.core.policy_sections import read_views
from proxy.core.policy_values import Report, refuse
from proxy.core.routing import Pattern, Router
from proxy.core.yaml_source import Node, Place, Scalar, Table, read_yaml

VERSION = "1"
DEFAULT_DEPLOYMENT = "default"
DEFAULT_HEALTH = "/health"
NO_HEALTH = "none"

_TABLES = (
    *("listeners", "backends", "issuers", "addresses", "limits", "logins"),
    *("fields", "views"),
    *("log", "responses"),
)
_LISTS = ("roles", "rules")
_UNMATCHED = (
    "a request that no rule matches is refused, even in shadow mode",
    "nobody says which of the backends is meant: add a rule for every path",
)
_WORDS = ("tenant", "deployment", "health", "mode", "limit_headers")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A policy, and what is known about it beside what it decides.

    Attributes:
        policy: ready to decide.
        warnings: the findings that do not refuse it.
        draft: where each part of it stands.
    """

    policy: Policy
    warnings: tuple[Finding, ...]
    draft: Draft


def parse_policy(
    files: Sequence[tuple[str, str]], environment: Mapping[str, str]
) -> tuple[Policy, tuple[Finding, ...]]:
    """Return the policy of these files and its warnings, see ``compile_policy``."""
    compiled = compile_policy(files, environment)
    return compiled.policy, compiled.warnings


def compile_policy(
    files: Sequence[tuple[str, str]], environment: Mapping[str, str]
) -> Compiled:
    """Compile the files of one policy.

    Args:
        files: name and text of each file, in the order of their names.
        environment: what ``${NAME}`` stands for.

    Raises:
        PolicyError: there is an error; carries every finding, warnings too.
    """
    report = Report()
    order = [name for name, _ in files] or ["policy"]

    def findings() -> tuple[Finding, ...]:
        return tuple(
            sorted(
                report.findings,
                key=lambda found: (order.index(found.file), found.line, found.column),
            )
        )

    document = _Document(Place(files[0][0] if files else "policy"))
    if not files:
        report.error(document.start, "there is no file of a policy")
        document.complete = False
    for name, text in files:
        document.add(report, name, text, environment)
    if not document.complete:
        raise PolicyError(findings())
    draft = _draft(report, document)
    routers = find_contradictions(report, draft)
    if routers is None or report.failed:
        raise PolicyError(findings())
    find_omissions(report, draft)
    policy = _policy(draft, routers, document, digest_of(files))
    return Compiled(policy=policy, warnings=findings(), draft=draft)


class _Document:
    """The sections of every file, laid together."""

    def __init__(self, start: Place) -> None:
        self.start = start
        self.complete = True
        self.words: dict[str, Scalar] = {}
        self.tables: dict[str, dict[str, tuple[Scalar, Node]]] = {
            section: {} for section in _TABLES
        }
        self.lists: dict[str, list[Node]] = {section: [] for section in _LISTS}
        self.texts: dict[str, str] = {}

    def add(
        self, report: Report, file: str, text: str, environment: Mapping[str, str]
    ) -> None:
        """Add one file. One that cannot be read makes the document incomplete."""
        self.texts[file] = text
        root, findings = read_yaml(file, text, environment)
        report.findings.extend(findings)
        if root is None and not findings:
            report.error(Place(file), "the file is empty", "begin with version: 1")
        if not isinstance(root, Table):
            # Every reference to what it holds would look wrong, which helps nobody.
            self.complete = False
        entries = report.entries(root, DOCUMENT, required(DOCUMENT))
        report.read(entries.get("version"), _version, None)
        for item in report.items(entries.get("include")):
            report.read(item, values.written, None)  # whoever reads files has read it
        for word in _WORDS:
            self._set_word(report, word, entries.get(word))
        for section in _TABLES:
            self._add_table(report, section, entries.get(section))
        for section in _LISTS:
            self.lists[section].extend(report.items(entries.get(section)))

    def _set_word(self, report: Report, word: str, node: Node | None) -> None:
        scalar = report.read(node, values.as_scalar, None)
        if scalar is None:
            return
        if word in self.words:
            first = f"first in {_where(self.words[word].at)}"
            report.error(scalar.at, f"the {word} is named twice", first)
        self.words[word] = scalar

    def _add_table(self, report: Report, section: str, node: Node | None) -> None:
        table = report.read(node, values.as_table, None)
        if table is None:
            return
        known = self.tables[section]
        for name in table.values:
            key = table.key(name)
            if name in known:
                first = f"first in {_where(known[name][0].at)}"
                report.error(key.at, f"{name!r} is defined twice", first)
                continue
            known[name] = key, table.values[name]


def _where(at: Place) -> str:
    return f"{at.file}:{at.line}"


def _version(node: Node) -> None:
    scalar = values.as_scalar(node)
    if scalar.text != VERSION:
        message = f"version {values.quoted(scalar)} is not known"
        raise refuse(node, message, f"this version of the proxy reads {VERSION}")


def _health(node: Node) -> str | None:
    scalar = values.as_scalar(node)
    if scalar.text == NO_HEALTH:
        return None
    try:
        pattern = Pattern.parse(scalar.text)
    except ValueError as error:
        raise refuse(node, str(error), f"a path, or {NO_HEALTH}") from None
    if pattern.params:
        raise refuse(node, "health is at one path", f"a path, or {NO_HEALTH}")
    return scalar.text


def _older(node: Node) -> bool:
    return values.choice(node, "kind of headers", LIMIT_HEADERS) == "both"


def _report_emptiness(report: Report, document: _Document) -> None:
    if not document.tables["backends"]:
        report.error(document.start, "there are no backends")
    if not document.lists["rules"]:
        report.error(document.start, "there are no rules: nothing would be served")


def _draft(report: Report, document: _Document) -> Draft:
    """Read every section, then the rules against them."""
    tables = document.tables
    _report_emptiness(report, document)
    roles = read_roles(report, document.lists["roles"])
    limits = read_limits(report, tables["limits"], roles.names)
    known = Known(
        backends=read_backends(report, tables["backends"]),
        roles=roles.names,
        heirs=roles.heirs,
        limits=limits,
        backend_limits=read_backend_limits(report, tables["backends"], limits),
        older=report.read(document.words.get("limit_headers"), _older, default=False),
        logins=read_logins(report, tables["logins"]),
        fields=read_fields(report, tables["fields"]),
        addresses=read_addresses(report, tables["addresses"]),
        texts=document.texts,
        shadow=read_shadow(report, document.words.get("mode")),
        logging=read_logging(report, tables["log"]),
        responses=read_responses(report, tables["responses"]),
        listeners=read_listeners(report, tables["listeners"]),
    )
    issuers = read_issuers(report, tables["issuers"])
    views = read_views(report, tables["views"], roles.names, known.fields)
    if known.shadow and len(known.backends) > 1:
        report.warning(document.words["mode"].at, *_UNMATCHED)
    rules = [
        (node, rule)
        for node in document.lists["rules"]
        if (rule := read_rule(report, node, known)) and isinstance(node, Table)
    ]
    return Draft(
        health=report.read(document.words.get("health"), _health, DEFAULT_HEALTH),
        sections=tables,
        roles=document.lists["roles"],
        known=known,
        issuers=issuers,
        views=views,
        rules=rules,
        tenant=report.read(document.words.get("tenant"), claim_path, ()),
    )


def digest_of(files: Sequence[tuple[str, str]]) -> str:
    """Return 16 hex digits of what was written; variables count by their names."""
    digest = hashlib.sha256()
    for _, text in files:
        encoded = text.encode()
        # Where one file ends must count: two files are not their concatenation.
        digest.update(f"{len(encoded)}\n".encode() + encoded)
    return digest.hexdigest()[:16]


def _policy(
    draft: Draft,
    routers: Mapping[str, Router[Rule]],
    document: _Document,
    digest: str,
) -> Policy:
    """Build the policy of a draft without errors."""
    known, rules = draft.known, tuple(rule for _, rule in draft.rules)
    issuers = [issuer for issuer in draft.issuers.values() if issuer]
    deployment = document.words.get("deployment")
    return Policy(
        digest=digest,
        deployment=deployment.text if deployment else DEFAULT_DEPLOYMENT,
        health=draft.health,
        backends={name: item for name, item in known.backends.items() if item},
        issuers={issuer.issuer: issuer for issuer in issuers},
        roles=known.roles,
        limits={name: item for name, item in known.limits.items() if item},
        fields=known.fields,
        views=draft.views,
        rules=rules,
        router=routers[DEFAULT_LISTENER],
        routers=routers,
        listeners={name: item for name, item in known.listeners.items() if item},
        unmatched=_unmatched(known),
        logging=known.logging,
        hardening=hardening_of(known.responses, known),
        tenant=draft.tenant,
        hardenings={
            rule.id: rule.hardening
            for rule in rules
            if rule.responses != known.responses
        },
        has_cors=any(rule.hardening and rule.hardening.cors for rule in rules),
    )


def _unmatched(known: Known) -> Rule | None:
    """Return what serves requests without a rule where nothing is enforced."""
    backends = [backend for backend in known.backends.values() if backend]
    if not known.shadow or len(backends) > 1:
        return None  # with several backends nobody says which of them is meant
    pattern = Pattern.parse("/{path...}")
    return Rule(
        id="",
        methods=frozenset(),
        pattern=pattern,
        backend=backends[0],
        allow=None,
        shadow=True,
    )
