"""``lumina-proxy test``: does the policy decide what its test cases say?"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from proxy.cli.loading import (
    DEFAULT_POLICY,
    PolicyPath,
    policy_or_exit,
    show_findings,
)
from proxy.core.errors import Finding, PolicyError
from proxy.core.policy import Policy
from proxy.core.policy_parser import Compiled
from proxy.core.workbench.cases import Case, read_cases
from proxy.core.workbench.results import Pair, Result, covered, pairs_of, run
from proxy.core.yaml_source import Place
from proxy.edge.policy_source import PolicySource
from proxy.settings import Environment

_SUFFIXES = (".test.yaml", ".test.yml")
_SHOWN = 50
"""How many uncovered pairs are told; --json has all."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What there is to tell about a run.

    Attributes:
        pairs: every pair of rule and role.
        uncovered: those that no passed case shows.
        cover: how many per cent have to be covered; None for any.
    """

    results: Sequence[Result]
    findings: Sequence[Finding]
    pairs: Sequence[Pair]
    uncovered: Sequence[Pair]
    cover: int | None

    @property
    def failed(self) -> list[Result]:
        """The cases that did not pass."""
        return [result for result in self.results if result.mismatches]

    @property
    def reached(self) -> int:
        """How many pairs are covered."""
        return len(self.pairs) - len(self.uncovered)

    @property
    def covers(self) -> bool:
        """Whether enough pairs are covered."""
        return self.reached * 100 >= (self.cover or 0) * len(self.pairs)

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.failed and not self.findings and self.covers


@click.command(short_help="Run the test cases of a policy, and say what they cover.")
@click.argument("path", type=PolicyPath, envvar="POLICY", default=DEFAULT_POLICY)
@click.option(
    "--cases",
    type=PolicyPath,
    multiple=True,
    help="Take the cases from this file, or these, instead.",
)
@click.option(
    "--cover",
    type=click.IntRange(0, 100),
    metavar="N",
    help="Fail below N per cent of the pairs of rule and role.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def test(
    path: Path, cases: tuple[Path, ...], cover: int | None, *, as_json: bool
) -> None:
    """Run the test cases of the policy at PATH.

    PATH is a folder, whose cases are in *.test.yaml, or a file lms.yaml, whose cases
    are in lms.test.yaml beside it. Without it, $POLICY is tested, or else ./policies.

    A case is a request, who sends it, and what has to come out:

    \b
        version: 1
        cases:
          - request: POST /api/users         # or a list of requests
            as: [teacher, admin]             # a role, some roles, or anyone
            expect: {rule: user-create, limits: [api], encrypted: [user.name]}
          - request: POST /api/users
            claims: {role: teacher, exp: -1m}    # a token that expired a minute ago
            expect: {reason: token-expired}

    A request is expected to be allowed unless a reason, or outcome: refused, is given.
    Only what is written is compared: outcome, reason, rule, role, backend, limits (a
    list, or a mapping with rates), encrypted fields of the request, plain and masked
    fields of the answer. Each of the lists may be empty: [].

    Covered is, for each rule, every role that it allows, one that it does not allow,
    and somebody without a token. No secret is needed.

    \b
    Exit status: 0 all cases pass (and cover N per cent), 1 otherwise, 2 wrong usage.

    \b
    Examples:
        lumina-proxy test
        lumina-proxy test policies --cover 100
        lumina-proxy test policies/lms.yaml --cases policies/lms.test.yaml --json
    """  # noqa: D301 - the \b of click is a backspace
    compiled = policy_or_exit(path, assume_secrets=True)
    found, findings = _read(compiled.policy, cases or _cases_of(path))
    outcome = _outcome(compiled.policy, found, findings, cover)
    if as_json:
        click.echo(json.dumps(_document(outcome), indent=2))
    elif findings:
        # A case that was not read is a claim that nobody checks.
        show_findings(findings)
        click.secho(f"{path}: no case was run", fg="red")
    else:
        for line in _lines(compiled, path, outcome):
            click.echo(line)
    click.get_current_context().exit(0 if outcome.ok else 1)


def _outcome(
    policy: Policy,
    cases: Sequence[Case],
    findings: Sequence[Finding],
    cover: int | None,
) -> _Outcome:
    results = [] if findings else [run(policy, case) for case in cases]
    pairs = pairs_of(policy)
    shown = covered(results)
    return _Outcome(
        results=results,
        findings=findings,
        pairs=pairs,
        uncovered=[pair for pair in pairs if pair not in shown],
        cover=cover,
    )


def _cases_of(path: Path) -> tuple[Path, ...]:
    """Return the files with the cases of the policy at ``path``."""
    if path.is_dir():
        return tuple(
            sorted(
                file
                for file in path.iterdir()
                if file.name.endswith(_SUFFIXES) and not file.name.startswith(".")
            )
        )
    beside = (path.with_name(path.stem + suffix) for suffix in _SUFFIXES)
    return tuple(file for file in beside if file.exists())


def _read(
    policy: Policy, files: Sequence[Path]
) -> tuple[list[Case], tuple[Finding, ...]]:
    """Return every case, and what is wrong with their files."""
    if not files:
        click.secho("there are no test cases: write *.test.yaml", fg="red", err=True)
        sys.exit(1)
    environment, now = Environment(os.environ), time.time()
    cases: list[Case] = []
    findings: list[Finding] = []
    for file in files:
        try:
            [(name, text)] = PolicySource(file, environment).read()
        except PolicyError as error:
            findings += error.findings
            continue
        more, wrong = read_cases(policy, name, text, environment, now)
        cases += more
        findings += wrong
    return cases, tuple(findings)


def _lines(compiled: Compiled, path: Path, outcome: _Outcome) -> Iterator[str]:
    places = compiled.draft.rule_places()
    for result in outcome.failed:
        yield from _failure(places, result)
    for rule, who in outcome.uncovered[:_SHOWN]:
        line = f"{places[rule]}: not covered: {rule} as {who}"
        yield click.style(line, fg="yellow" if outcome.covers else "red")
    if (more := len(outcome.uncovered) - _SHOWN) > 0:
        yield f"and {more} more pairs that are not covered"
    requests = len(outcome.results)
    percent = outcome.reached * 100 // len(outcome.pairs)
    summary = (
        f"{path}: {requests} requests, {len(outcome.failed)} failed; {outcome.reached} "
        f"of {len(outcome.pairs)} pairs of rule and role covered ({percent} %)"
    )
    if not outcome.covers:
        summary += f", {outcome.cover} % are asked for"
    yield click.style(summary, fg="green" if outcome.ok else "red")


def _failure(places: Mapping[str, Place], result: Result) -> Iterator[str]:
    case, rule = result.case, result.decision.rule
    about = f" ({case.name})" if case.name else ""
    what = f"{case.method} {case.path} {case.asking}"
    yield click.style(f"{case.at}: failed: {what}{about}", fg="red")
    for one in result.mismatches:
        yield f"  {one.what}: expected {one.expected}, found {one.actual}"
    where = f" ({places[rule.id]})" if rule else ""
    yield f"  the policy says: {result.why}{where}"


def _document(outcome: _Outcome) -> dict[str, object]:
    return {
        "ok": outcome.ok,
        "requests": len(outcome.results),
        "failures": [
            {
                "file": result.case.at.file,
                "line": result.case.at.line,
                "column": result.case.at.column,
                "name": result.case.name,
                "request": f"{result.case.method} {result.case.path}",
                "asking": result.case.asking,
                "mismatches": [dataclasses.asdict(one) for one in result.mismatches],
                "why": result.why,
            }
            for result in outcome.failed
        ],
        "pairs": len(outcome.pairs),
        "covered": outcome.reached,
        "cover": outcome.cover,
        "uncovered": [{"rule": rule, "as": who} for rule, who in outcome.uncovered],
        "findings": [dataclasses.asdict(finding) for finding in outcome.findings],
    }
