"""A backend that notes every byte it gets, and answers as a test tells it to."""

import contextlib
import dataclasses
import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from io import BufferedIOBase


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One request as it was on the wire, taken apart the plainest way."""

    head: bytes
    body: bytes

    @property
    def target(self) -> str:
        """The request target."""
        return self.head.split(b" ", 2)[1].decode("latin-1")

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Every field line: (lower-case name, value)."""
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        parts = [line.partition(":") for line in lines]
        return [(name.lower(), value.strip()) for name, _, value in parts]

    def values(self, name: str) -> list[str]:
        """Return every value of a field."""
        return [value for key, value in self.fields if key == name]


Answer = Callable[[Heard], bytes | None]
"""The bytes to answer with; None closes the connection without a word."""


def answer(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """Return an answer with a body and further field lines."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def json_answer(document: object, *lines: str, status: str = "200 OK") -> bytes:
    """Return an answer with a JSON body."""
    body = json.dumps(document).encode()
    return answer(body, "Content-Type: application/json", *lines, status=status)


def saying(data: bytes) -> Answer:
    """Answer always with the same bytes."""
    return lambda _: data


def echo(heard: Heard) -> bytes:
    """Answer with the body that came, as a database would give it back."""
    return answer(heard.body, "Content-Type: application/json")


class Wiretap:
    """A backend on a free port, in threads of its own.

    Args:
        tls: the files of a certificate and its key, to speak TLS with.

    Attributes:
        port: where it listens.
        heard: every request, in the order in which they were complete.
        answers: by path without query; what is not there gets ``echo``.
    """

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        self.heard: list[Heard] = []
        self.answers: dict[str, Answer] = {}
        self._server = socketserver.ThreadingTCPServer(
            ("127.0.0.1", 0), self._handler(), bind_and_activate=True
        )
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        tap = self

        class Connection(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                # A client that does not trust us ends the handshake.
                with contextlib.suppress(ssl.SSLError):
                    self.listen()

            def listen(self) -> None:
                for heard in requests(self.rfile):
                    tap.heard.append(heard)
                    path = heard.target.partition("?")[0]
                    data = tap.answers.get(path, echo)(heard)
                    if data is None:
                        return
                    self.wfile.write(data)

        return Connection

    def clear(self) -> None:
        """Forget what was heard."""
        self.heard.clear()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def requests(stream: BufferedIOBase) -> Iterator[Heard]:
    """Yield requests until the connection ends or one is not whole.

    It reads what a careful proxy writes, and nothing else: a second reader with
    opinions of its own would hide what it is there to show.
    """
    while (head := _head(stream)) is not None:
        heard = Heard(head=head, body=b"")
        if heard.values("transfer-encoding") == ["chunked"]:
            body = _chunks(stream)
        else:
            length = int((heard.values("content-length") or ["0"])[0])
            read = stream.read(length)
            body = read if len(read) == length else None
        if body is None:
            return
        yield dataclasses.replace(heard, body=body)


def _head(stream: BufferedIOBase) -> bytes | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        head += line
    return head


def _chunks(stream: BufferedIOBase) -> bytes | None:
    body = b""
    while line := stream.readline():
        size = int(line, 16)
        body += stream.read(size)
        stream.readline()
        if not size:
            return body
    return None
