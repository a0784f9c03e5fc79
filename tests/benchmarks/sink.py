"""A backend that takes bodies and says how long they were; it keeps nothing.

``python sink.py PORT``: a thread for each connection, for a body of a gigabyte is read
faster in large blocking reads than by any event loop.
"""

import re
import socket
import sys
import threading

BLOCK = 1 << 20
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


def serve(connection: socket.socket) -> None:
    """Answer every request of a connection once its body is there."""
    block = memoryview(bytearray(BLOCK))
    got = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in got:
                data = connection.recv(65536)
                if not data:
                    return
                got += data
            head, _, rest = got.partition(b"\r\n\r\n")
            found = LENGTH.search(head)
            length = int(found[1]) if found else 0
            left = length - len(rest)
            while left > 0:
                taken = connection.recv_into(block, min(left, BLOCK))
                if not taken:
                    return
                left -= taken
            got = b""
            body = b"%d" % length
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )


def main(port: int) -> None:
    """Accept until the process is ended."""
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listening:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
