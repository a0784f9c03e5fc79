"""What can only be said of a policy as a whole: what contradicts, what is left over.

Errors are what would refuse or pass requests in a way that nobody wrote down. Warnings
are what was probably forgotten; they are only looked for in a policy without errors,
where nothing is missing because it could not be read.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from proxy.core.authn import Issuer
from proxy.core.errors import Refused
from proxy.core.field import Mode
from proxy.core.limit import Limit, Per
from proxy.core.listeners import DEFAULT_LISTENER
from proxy.core.policy import ANYONE, Rule, View
from proxy.core.policy_bindings import warn_of_tenants
from proxy.core.policy_field_lint import (
    find_misuse,
    protected,
    warn_of_dropped_members,
    warn_of_unmapped_passwords,
)
from proxy.core.policy_rules import Known
from proxy.core.policy_sections import Section
from proxy.core.policy_upgrade import find_upgrade_misuse
from proxy.core.policy_values import Report
from proxy.core.routing import MAX_DEPTH, Pattern, Router
from proxy.core.yaml_source import Listing, Node, Place, Scalar, Table

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A policy that was read, and where each part of it stands.

    Attributes:
        sections: the entries of every section with names.
        roles: the node of each role.
        known: what rules refer to.
        issuers: whom tokens are trusted from, by name.
        views: what each role sees.
        rules: every rule that could be built, with its node.
        health: where the data port answers for itself; None for nowhere.
        tenant: the path of the claim that says whose keys protect a value.
    """

    sections: Mapping[str, Section]
    roles: Sequence[Node]
    known: Known
    issuers: Mapping[str, Issuer | None]
    views: Mapping[str, Mapping[str, View]]
    rules: Sequence[tuple[Table, Rule]]
    health: str | None
    tenant: tuple[str, ...] = ()

    def place(self, section: str, name: str) -> Place:
        """Return where ``name`` is defined in ``section``."""
        return self.sections[section][name][0].at

    def rule_places(self) -> Mapping[str, Place]:
        """Return where each rule stands, by its id."""
        return {rule.id: table.at for table, rule in self.rules}


def find_contradictions(
    report: Report, draft: Draft
) -> Mapping[str, Router[Rule]] | None:
    """Report every error that takes more than one section or rule to see.

    Returns:
        The router of the rules of each listener; None when two of them tie.
    """
    _duplicate_ids(report, draft)
    routers = {
        name: _ties(report, [one for one in draft.rules if one[1].listener == name])
        for name in draft.known.listeners
    }
    _tokens_without_issuer(report, draft)
    for table, rule in draft.rules:
        for limit in rule.limits:
            _limit_of_rule(report, table, rule, limit)
        find_misuse(report, table, rule, draft.known.fields)
        find_upgrade_misuse(report, table, rule)
    if not all(routers.values()):
        return None
    return {name: router for name, router in routers.items() if router}


def _duplicate_ids(report: Report, draft: Draft) -> None:
    first: dict[str, Place] = {}
    for table, rule in draft.rules:
        at = table.values["id"].at
        if rule.id in first:
            known = first[rule.id]
            hint = f"first in {known.file}:{known.line}"
            report.error(at, f"the rule id {rule.id!r} is there twice", hint)
        first.setdefault(rule.id, at)


def _ties(report: Report, written: Sequence[tuple[Table, Rule]]) -> Router[Rule] | None:
    rules = [rule for _, rule in written]
    tables = {id(rule): table for table, rule in written}
    ties = Router.ties(rules)
    for one, other in ties:
        at = tables[id(other)].values["match"].at
        report.error(
            at,
            f"matches the same requests as the rule {one.id!r}",
            f"{one.pattern.text} and {other.pattern.text} are equally specific",
        )
    if ties:
        return None
    router = Router(rules)
    for table, rule in written:
        obstacle = _obstacle(router, rule)
        if obstacle:
            at = table.values["match"].at
            report.error(at, f"no request reaches the rule {rule.id!r}", obstacle)
    return router


def _obstacle(router: Router[Rule], rule: Rule) -> str:
    """Say why no request reaches ``rule``; "" when one of its own paths does."""
    obstacle = "more specific paths take all of its requests"
    # A method that no rule names: only "*" has it.
    for method in sorted(rule.methods) or ["ANY"]:
        for path in _paths(rule.pattern):
            try:
                if router.match(method, path).rule is rule:
                    return ""
            except Refused as refused:
                obstacle = f"{refused.detail} Add it to tolerate."
    return obstacle


def _paths(pattern: Pattern) -> Iterator[str]:
    """Yield paths that ``pattern`` matches, parameters filled with what no one writes.

    A rest is filled with up to as many segments as any pattern can have.
    """
    filler = "x" * 40
    path = "".join(f"/{filler if part is None else part}" for part in pattern.segments)
    counts = range(MAX_DEPTH) if pattern.rest else ()
    yield from (f"{path}/{'/'.join([filler] * count)}" for count in counts)
    if not pattern.rest:
        yield path


def _tokens_without_issuer(report: Report, draft: Draft) -> None:
    if draft.issuers:
        return
    for table, rule in draft.rules:
        if rule.allow is not None:
            hint = "add the section issuers"
            at = table.values["allow"].at
            report.error(at, "needs a token, but no issuer is trusted", hint)
            return


def _limit_of_rule(report: Report, table: Table, rule: Rule, limit: Limit) -> None:
    at = table.values.get("limits", table).at
    for per in (Per.SUBJECT, Per.ROLE):
        # What is everywhere falls to the client where there is no subject.
        if rule.allow is None and limit.has(per) and not limit.everywhere:
            what = f"the limit {limit.id!r} counts per {per.value}"
            report.error(at, f"{what}, but no token is asked for", "per: client")
    for part in limit.parts:
        if part.per is Per.PATH and part.name not in rule.pattern.params:
            what = f"the limit {limit.id!r} counts per {part.text}"
            report.error(at, f"{what}, but {rule.pattern.text} has no such parameter")
    if None in limit.rates:
        return
    reach = [ANYONE] if rule.allow is None else sorted(rule.allow - set(limit.rates))
    for role in reach:
        hint = f"add {role} or default to its rates" if rule.allow else "add default"
        message = f"the limit {limit.id!r} has no rate for {role!r}"
        report.error(at, message, hint)


def find_omissions(report: Report, draft: Draft) -> None:
    """Report every warning about a policy without errors."""
    _unused(report, draft)
    _open_writes(report, draft)
    _never_decrypted(report, draft)
    _unseen(report, draft)
    for table, rule in draft.rules:
        warn_of_unmapped_passwords(report, table, rule, draft.known.fields)
        warn_of_dropped_members(report, table, rule, draft.views)
        if draft.tenant:
            warn_of_tenants(report, table, rule, draft.known.fields)


def _unused(report: Report, draft: Draft) -> None:
    rules = [rule for _, rule in draft.rules]
    allowed = {role for rule in rules for role in rule.allow or ()}
    for node, role in zip(draft.roles, draft.known.roles, strict=True):
        if role not in allowed:
            report.warning(node.at, f"no rule allows the role {role!r}")
    for name in draft.known.listeners.keys() - {rule.listener for rule in rules}:
        if name != DEFAULT_LISTENER:
            message = f"no rule is for {name!r}: it refuses every request"
            report.warning(draft.place("listeners", name), message)
    limits = {limit.id for rule in rules for limit in rule.limits}
    for name in draft.known.limits:
        if name not in limits:
            report.warning(draft.place("limits", name), f"no rule uses {name!r}")
    logins = {rule.login.id for rule in rules if rule.login}
    for name in draft.known.logins.keys() - logins:
        report.warning(draft.place("logins", name), f"no rule uses {name!r}")
    for name in draft.known.addresses.keys() - _lists_of_addresses(draft):
        report.warning(draft.place("addresses", name), f"no rule uses {name!r}")
    fields = {
        field
        for rule in rules
        for part in (*protected(rule).values(), rule.protect_response)
        if part
        for field in part.fields
    }
    for name in draft.known.fields:
        if name not in fields:
            report.warning(draft.place("fields", name), f"no rule protects {name!r}")


def _lists_of_addresses(draft: Draft) -> set[str]:
    """Return the names of lists that rules use, and every address beside them."""
    tables = (table.values.get("addresses") for table, _ in draft.rules)
    lists = (
        one
        for table in tables
        if isinstance(table, Table)
        for one in table.values.values()
    )
    return {
        item.text
        for one in lists
        if isinstance(one, Listing)
        for item in one.items
        if isinstance(item, Scalar)
    }


def _open_writes(report: Report, draft: Draft) -> None:
    for table, rule in draft.rules:
        writes = not rule.methods or rule.methods - _SAFE_METHODS
        if rule.allow is None and writes and not rule.limits:
            at = table.values["allow"].at
            report.warning(at, "anyone may write here, without a limit", "add limits")


def _never_decrypted(report: Report, draft: Draft) -> None:
    decrypted = {field for _, rule in draft.rules for field in _decrypted(rule)}
    fields = draft.known.fields.values()
    told = {field.id for field in fields if field.mode is Mode.PEPPER}
    for table, rule in draft.rules:
        for field in sorted(_encrypted(rule) - decrypted - told):
            message = f"{field!r} is encrypted here and decrypted in no response"
            report.warning(table.values["protect"].at, message)
            told.add(field)


def _unseen(report: Report, draft: Draft) -> None:
    """Report roles that get a protected field and have no word about it in views."""
    told: set[tuple[str, str]] = set()
    for table, rule in draft.rules:
        roles = {ANYONE} if rule.allow is None else rule.allow
        for role in sorted(roles):
            seen = draft.views.get(role, {})
            for field in sorted(_decrypted(rule) - seen.keys()):
                if (role, field) not in told:
                    told.add((role, field))
                    report.warning(
                        table.values["protect"].at,
                        f"{role!r} has no view of {field!r} and gets it masked",
                        f"say so: views: {{{role}: {{{field}: mask}}}}",
                    )


def _encrypted(rule: Rule) -> frozenset[str]:
    """Return the fields that a rule has the backend store."""
    parts = (rule.protect_request, rule.protect_form)
    return frozenset(field for part in parts if part for field in part.fields)


def _decrypted(rule: Rule) -> frozenset[str]:
    return rule.protect_response.fields if rule.protect_response else frozenset()
