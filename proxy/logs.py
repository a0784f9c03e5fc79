"""The logs of this process: opened, started, followed and closed together."""

import functools
from pathlib import Path

from proxy.bindings import wall
from proxy.core.access_line import JsonLine, TextLine
from proxy.core.audit_keys import audit_keys
from proxy.core.policy import Policy
from proxy.edge.access_log import AccessLog
from proxy.edge.audit_log import AuditLines, AuditLog
from proxy.edge.log_sink import LogSink
from proxy.edge.metrics import Metrics
from proxy.settings import NOWHERE, STDOUT, Settings
from proxy.starting import StartError


class Logs:
    """The access log and the audit log.

    Args:
        settings: what the process is told.

    Attributes:
        access: None where nobody wants one.
        audit: a file, or the ordinary log.

    Raises:
        StartError: a file cannot be opened, or the key is none.
    """

    def __init__(self, settings: Settings) -> None:
        self.access: AccessLog | None = None
        self.audit: AuditLog | AuditLines = AuditLines()
        self._sink: LogSink | None = None
        if settings.access_log != NOWHERE:
            self._open_access(settings)
        if settings.audit_log is not None:
            self._open_audit(settings, settings.audit_log)

    def _open_access(self, settings: Settings) -> None:
        path = None if settings.access_log == STDOUT else Path(settings.access_log)
        try:
            self._sink = sink = LogSink(path)
        except OSError as error:
            raise StartError(
                f"ACCESS_LOG: {path}: {error.strerror or error}."
            ) from None
        people = settings.log_format == "text"
        if settings.log_format == "auto":
            people = sink.is_terminal
        text = functools.partial(TextLine, colours=sink.is_terminal)
        self.access = AccessLog(sink, wall, text if people else JsonLine)

    def _open_audit(self, settings: Settings, path: Path) -> None:
        try:
            keys = audit_keys(settings.audit_key, settings.encryption_key)
        except ValueError as error:
            raise StartError(f"{error}.") from None
        self.audit = AuditLog(path, keys[0], wall)

    def watch(self, metrics: Metrics) -> None:
        """Have the numbers of the logs exposed."""
        access, audit = self.access, self.audit
        if access is not None:
            metrics.watch(
                "lumina_log_lines_dropped", lambda: [((), float(access.dropped))]
            )
        if isinstance(audit, AuditLog):
            metrics.watch("lumina_audit_lines", lambda: [((), float(audit.written))])
            metrics.watch(
                "lumina_audit_write_failures", lambda: [((), float(audit.failures))]
            )
            metrics.watch(
                "lumina_audit_events_dropped", lambda: [((), float(audit.dropped))]
            )

    def policy_changed(self, before: Policy | None, policy: Policy) -> None:
        """Write down which policy is in force now, and how it differs from the last."""
        old = {rule.id: rule for rule in before.rules} if before is not None else {}
        new = {rule.id: rule for rule in policy.rules}
        self.audit.note(
            "policy.in_force",
            digest=policy.digest,
            before="" if before is None else before.digest,
            added=[] if before is None else sorted(new.keys() - old.keys()),
            removed=sorted(old.keys() - new.keys()),
            changed=sorted(
                one for one in new.keys() & old.keys() if new[one] != old[one]
            ),
        )

    @property
    def state(self) -> str:
        """``ok``, or why the audit log cannot be written."""
        return self.audit.state if isinstance(self.audit, AuditLog) else "ok"

    def start(self) -> None:
        """Begin to write.

        Raises:
            StartError: the audit log cannot be written.
        """
        if self._sink is not None:
            self._sink.start()
        if isinstance(self.audit, AuditLog):
            try:
                self.audit.start()
            except OSError as error:
                raise StartError(f"AUDIT_LOG: {error.strerror or error}.") from None

    def stop(self) -> None:
        """Write what is left, and end."""
        if isinstance(self.audit, AuditLog):
            self.audit.stop()
        if self._sink is not None:
            self._sink.stop()
