"""Where Alertmanager sends what it has to say: receivers in this process."""

import contextlib
import dataclasses
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.conftest import DEADLINE


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """What a receiver got, as its people read it."""

    receiver: str
    title: str
    text: str


class Hooks:
    """Receivers on one port; the path of a request is the receiver's name."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._came = threading.Condition()
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hooks.receive(self.path.strip("/"), json.loads(body))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def receive(self, receiver: str, document: dict[str, Any]) -> None:
        """Note a message in the format of Slack's incoming webhooks."""
        [attachment] = document["attachments"]
        with self._came:
            message = Message(receiver, attachment["title"], attachment["text"])
            self.messages.append(message)
            self._came.notify_all()

    def url(self, receiver: str) -> str:
        """Return where a receiver listens."""
        return f"http://127.0.0.1:{self._server.server_port}/{receiver}"

    def wait(self, title: str) -> Message:
        """Return the first message with such a title, as soon as it is there."""

        def found() -> Message | None:
            return next((one for one in self.messages if title in one.title), None)

        with self._came:
            message = self._came.wait_for(found, DEADLINE)
        assert message is not None, [one.title for one in self.messages]
        return message

    @contextlib.contextmanager
    def listening(self) -> Iterator["Hooks"]:
        """Listen."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(DEADLINE)
