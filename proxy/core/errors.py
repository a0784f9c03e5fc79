"""The errors that cross a boundary. There are three, and nothing else may.

``Refused`` becomes a response and is all that the pipeline catches. ``PolicyError``
exists at load time only. Whatever else escapes is a bug of ours: answered with 500,
logged, counted.

None of them ever carries a token, a key or a protected value.
"""

import dataclasses

from proxy.core.reasons import Reason


class ProxyError(Exception):
    """The base of every error of this package."""


class Refused(ProxyError):
    """The request is not served.

    Args:
        reason: the row of the reasons table.
        detail: one public sentence about this occurrence, or "" for none. Never
            made from a token, a key or a protected value.
        headers: extra header fields of the response, as (name, value).
        violated: the names of the limits that are used up.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        violated: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{reason.slug}: {detail or reason.title}")
        self.reason = reason
        self.detail = detail
        self.headers = headers
        self.violated = violated


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong in a policy, and where.

    Attributes:
        file: the name of the file as the user gave it.
        line: counted from 1.
        column: counted from 1.
        path: where in the document, such as ``rules[2].limits``; "" for the root.
        message: what is wrong.
        hint: what was probably meant or what to do; "" for none.
        severity: "error" refuses the policy, "warning" does not.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        """Format as ``file:line:column: severity: path: message (hint)``."""
        where = f"{self.file}:{self.line}:{self.column}: {self.severity}: "
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{path}{self.message}{hint}"


class PolicyError(ProxyError):
    """A policy cannot be loaded.

    Args:
        findings: everything that is wrong, in file order; never empty.
    """

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings
