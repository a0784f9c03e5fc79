"""Which requests to compare two policies on, and what both say to them.

Every path that some rule of either knows is represented by one (``representatives``),
with every method that matters. Requests that meet the same two rules are one meeting:
whatever is true of one of them is true of all.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from proxy.core.errors import Refused
from proxy.core.listeners import DEFAULT_LISTENER
from proxy.core.policy import ANYONE, Policy, Rule
from proxy.core.policy_rules import METHODS
from proxy.core.workbench.decision import Decision, decide, with_roles, without_token
from proxy.core.workbench.representatives import representatives
from proxy.core.workbench.wording import methods_text


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Requests of one kind.

    Attributes:
        methods: as a rule has them.
        path: as a rule has it; with its listener, unless that is the default one.
        old: the id of the rule that decided before; None for none.
        new: the id of the rule that decides now; None for none.
    """

    methods: str
    path: str
    old: str | None
    new: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Requests that one rule decided and another decides now.

    Attributes:
        old: the rule before; None for none.
        new: the rule now; None for none.
        method: of a request that stands for all.
        path: of that request.
        requests: all of them.
    """

    old: Rule | None
    new: Rule | None
    method: str
    path: str
    requests: tuple[Request, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What both policies say to somebody about the requests of a meeting."""

    who: str
    old: Decision
    new: Decision


def meetings(
    old: Policy, new: Policy, listener: str = DEFAULT_LISTENER
) -> list[Meeting]:
    """Return every pair of rules that the same requests meet, with those requests.

    Args:
        old: at one listener; see ``Policy.at``.
        new: at the same.
        listener: which one that is.

    Raises:
        ValueError: the rules overlap in more ways than anybody could review.
    """
    by_shape = _rules_by_shape(old, new)
    found: dict[tuple[str | None, str | None], _Found] = {}
    for sample in representatives(rule.pattern for rule in (*old.rules, *new.rules)):
        rules = [
            rule
            for pattern in sample.patterns
            for rule in by_shape[pattern.segments, pattern.rest]
        ]
        methods = _methods(rules)
        for method, shown in methods.items():
            before = _rule(old, method, sample.path)
            after = _rule(new, method, sample.path)
            if before or after:
                pair = before.id if before else None, after.id if after else None
                meeting = found.setdefault(
                    pair, _Found(before, after, method, sample.path, {}, {})
                )
                meeting.methods.setdefault(sample.text, []).append(shown)
                meeting.asked[sample.text] = len(methods)
    at = "" if listener == DEFAULT_LISTENER else f" at {listener}"
    return [one.meeting(at) for one in found.values()]


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    old: Rule | None
    new: Rule | None
    method: str
    path: str
    methods: dict[str, list[str]]
    asked: dict[str, int]

    def meeting(self, at: str) -> Meeting:
        old = self.old.id if self.old else None
        new = self.new.id if self.new else None
        # A rule's own path says what it also is with a parameter filled in.
        own = {rule.pattern.text for rule in (self.old, self.new) if rule}
        whole = {
            method
            for text, methods in self.methods.items()
            for method in methods
            if text in own
        }
        return Meeting(
            old=self.old,
            new=self.new,
            method=self.method,
            path=self.path,
            requests=tuple(
                Request(
                    methods=self._text(text, methods),
                    path=f"{text}{at}",
                    old=old,
                    new=new,
                )
                for text, methods in self.methods.items()
                if text in own or not whole.issuperset(methods)
            ),
        )

    def _text(self, path: str, methods: list[str]) -> str:
        """Return methods as a rule has them: ``*`` is every one."""
        every = _OTHERS in methods and len(methods) == self.asked[path]
        return "*" if every else methods_text(methods)


_OTHERS = "others"
"""What stands for the methods that no rule names."""

_Shape = tuple[tuple[str | None, ...], bool]


def _rules_by_shape(*policies: Policy) -> Mapping[_Shape, Sequence[Rule]]:
    rules: dict[_Shape, list[Rule]] = {}
    for policy in policies:
        for rule in policy.rules:
            shape = rule.pattern.segments, rule.pattern.rest
            rules.setdefault(shape, []).append(rule)
    return rules


def _methods(rules: Iterable[Rule]) -> dict[str, str]:
    """Return the methods to ask with, each with what stands for it.

    HEAD is not asked for: it goes with GET unless a rule names it.
    """
    named = {method for rule in rules for method in rule.methods}
    methods = {method: method for method in METHODS if method in named}
    if any(not rule.methods for rule in rules):
        # HEAD is no other method: a rule with GET has it.
        free = (one for one in METHODS if one not in named and one != "HEAD")
        methods[next(free, "OTHER")] = _OTHERS
    return methods


def _rule(policy: Policy, method: str, path: str) -> Rule | None:
    try:
        return policy.router.match(method, path).rule
    except Refused:
        return None


def ask(old: Policy, new: Policy, meeting: Meeting) -> Iterator[Asked]:
    """Ask both policies about a meeting: as everybody that either knows."""
    roles = dict.fromkeys((*old.roles, *new.roles))
    if all(rule and rule.allow is None for rule in (meeting.old, meeting.new)):
        roles = {}  # neither looks at a role
    for who in (ANYONE, *roles):
        before, after = (
            decide(
                policy,
                meeting.method,
                meeting.path,
                without_token(policy, 0.0) if who == ANYONE else with_roles(who),
            )
            for policy in (old, new)
        )
        yield Asked(who=who, old=before, new=after)
