"""How the ordinary log looks: one JSON object a line, or text for people."""

import json
import logging

from proxy.core.access_line import Stamp

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object: time, level, logger, message, traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._stamp = Stamp()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without its newline."""
        line = {
            "time": self._stamp.of(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(style: str, level: str) -> None:
    """Set the ordinary log up, on the standard error output.

    Args:
        style: ``json``, ``text``, or ``auto``: text at a terminal.
        level: the least that is logged, such as ``info``.
    """
    handler = logging.StreamHandler()
    people = style == "text" or (style == "auto" and handler.stream.isatty())
    handler.setFormatter(logging.Formatter(TEXT) if people else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
