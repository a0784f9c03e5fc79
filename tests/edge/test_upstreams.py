"""Backends of several servers, of other kinds, and through reloads; real sockets."""

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.core.backends import Server
from proxy.core.errors import Refused
from proxy.core.message import Response
from proxy.core.policy import Policy, Rule
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.edge.body import BodyStream
from proxy.edge.tls import TlsError, context_for_server
from proxy.edge.upstreams import Upstreams
from tests.certificates import Authority
from tests.wire import Client, Script, backend, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STOPPED = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


def policy(servers: str, more: str = "", rule: str = "", name: str = "lms") -> Policy:
    """Compile a policy with one backend and one rule."""
    text = (
        f"version: 1\nbackends:\n  {name}:\n    servers: [{servers}]\n{more}"
        f"rules:\n  - id: home\n    match: GET /\n    allow: anyone\n{rule}"
    )
    return parse_policy([("policy.yaml", text)], {})[0]


@contextlib.asynccontextmanager
async def running(
    first: Policy, look_at_files: float = 60.0
) -> AsyncIterator[Upstreams]:
    """Yield the upstreams of a policy, watched."""
    upstreams = Upstreams(look_at_files=look_at_files)
    configure(upstreams, first)
    upstreams.start()
    try:
        yield upstreams
    finally:
        await upstreams.close()


def configure(upstreams: Upstreams, new: Policy) -> None:
    """Put a policy in force."""
    timeouts = [rule.timeouts for rule in new.rules if rule.timeouts]
    upstreams.configure(new.backends.values(), timeouts)


async def ask(
    upstreams: Upstreams, rule: Policy | Rule, method: str = "GET"
) -> Response:
    """Exchange one request without a body."""
    if isinstance(rule, Policy):
        [rule] = rule.rules
    head = GET.replace(b"GET", method.encode())
    return await upstreams.exchange(rule, method, head, b"")


async def refusal(upstreams: Upstreams, rule: Policy, method: str = "GET") -> Reason:
    """Return why a request was refused."""
    with pytest.raises(Refused) as refused:
        await ask(upstreams, rule, method)
    return refused.value.reason


async def whole(response: Response) -> bytes:
    """Read the whole body of an answer."""
    chunks = []
    while chunk := await response.body.read():
        chunks.append(chunk)
    return b"".join(chunks)


def named(name: bytes) -> Script:
    """Return a backend that answers every request with its name."""

    async def answer(client: Client) -> None:
        while True:
            await client.reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(name)
            await client.send(head + name)

    return answer


async def silent(client: Client) -> None:
    """Read, and never answer."""
    await client.reader.read()


async def garbage(client: Client) -> None:
    """Answer with what is no HTTP."""
    await client.reader.readuntil(b"\r\n\r\n")
    await client.send(b"\x00\xff\x16\x03garbage\r\n\r\n")


async def resetting(client: Client) -> None:
    """Read a request, and break the connection."""
    await client.reader.readuntil(b"\r\n\r\n")
    client.reset()


async def once(client: Client) -> None:
    """Answer one request, and close as soon as the second comes."""
    await client.reader.readuntil(b"\r\n\r\n")
    await client.send(OK)
    await client.reader.readuntil(b"\r\n\r\n")


def closed_port() -> int:
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def http(*ports: int) -> str:
    """Return servers on loopback as the policy has them."""
    return ", ".join(f'"http://127.0.0.1:{port}"' for port in ports)


@contextlib.contextmanager
def stopped() -> Iterator[int]:
    """Run a backend and SIGSTOP it: the system still takes connections for it."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        process.send_signal(signal.SIGSTOP)
        try:
            yield port
        finally:
            process.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def full() -> Iterator[int]:
    """Listen with a queue that is full: the system takes no more connections."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=0)
        )
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(listener.getsockname())
        yield listener.getsockname()[1]


# -- several servers


async def test_requests_are_spread_over_the_servers() -> None:
    """Each of the servers gets its share."""
    async with backend(named(b"one")) as one, backend(named(b"two")) as two:
        rules = policy(http(one, two), "    balance: round-robin\n")
        async with running(rules) as upstreams:
            answers = [await whole(await ask(upstreams, rules)) for _ in range(6)]

    assert sorted(answers) == [b"one"] * 3 + [b"two"] * 3


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_server_that_takes_no_connection_costs_nobody_a_request(
    method: str,
) -> None:
    """Nothing was sent, so another server is asked, whatever the method."""
    async with backend(named(b"two")) as two:
        rules = policy(http(closed_port(), two))
        async with running(rules) as upstreams:
            for _ in range(4):
                assert await whole(await ask(upstreams, rules, method)) == b"two"

            assert dict(upstreams.retries())[("lms",)] >= 1


async def test_upload_that_found_no_connection_goes_to_another_server() -> None:
    """A stream of which nothing was read is as good as a body at hand."""
    received: list[bytes] = []

    async def reads(client: Client) -> None:
        received.append(await client.reader.readuntil(b"0\r\n\r\n"))
        await client.send(OK)

    async with backend(reads) as port:
        rules = policy(http(closed_port(), port), "    balance: round-robin\n")
        async with running(rules) as upstreams:
            for _ in range(2):
                body = BodyStream()
                asked = upstreams.exchange(
                    rules.rules[0], "POST", GET, body, chunked=True
                )
                body.feed(b"part")
                body.finish()
                assert (await asked).status == 200

    assert [b"part" in one for one in received] == [True, True]


async def test_servers_that_are_all_gone_are_a_refusal() -> None:
    """Two further ones are tried, and no more."""
    rules = policy(http(*(closed_port() for _ in range(4))))
    async with running(rules) as upstreams:
        assert await refusal(upstreams, rules) is Reason.UPSTREAM_REFUSED
        assert sum(number for _, number in upstreams.failures()) == 3


@pytest.mark.parametrize("faulty", [garbage, silent, resetting])
async def test_server_that_fails_is_ejected(faulty: Script) -> None:
    """After so many failures in a row the other one gets every request."""
    async with backend(faulty) as bad, backend(named(b"good")) as good:
        rules = policy(
            http(bad, good),
            "    balance: round-robin\n    eject: {after: 2, for: 1h}\n"
            "    timeouts: {first_byte: 200ms}\n    retry: never\n",
        )
        async with running(rules) as upstreams:
            results: list[object] = []
            for _ in range(12):
                try:
                    results.append(await whole(await ask(upstreams, rules)))
                except Refused as refused:
                    results.append(refused.reason)

            assert results.count(b"good") == 10
            assert ((("lms", f"127.0.0.1:{bad}"), 1.0)) in upstreams.ejected()
            assert ((("lms", f"127.0.0.1:{bad}"), 1)) in upstreams.ejections()


async def test_answer_forgives_failures() -> None:
    """Only failures in a row count."""
    asked = 0

    async def every_other(client: Client) -> None:
        nonlocal asked
        await client.reader.readuntil(b"\r\n\r\n")
        asked += 1
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        if asked % 2:
            client.reset()

    async with backend(every_other) as one, backend(every_other) as two:
        rules = policy(http(one, two), "    eject: {after: 2, for: 1h}\n")
        async with running(rules) as upstreams:
            for _ in range(20):
                with contextlib.suppress(Refused):
                    await ask(upstreams, rules, "POST")

            assert not any(out for _, out in upstreams.ejected())


async def test_reset_before_an_answer_is_asked_elsewhere() -> None:
    """GET is sent to another server, once; POST is not, for it may have been heard."""
    async with backend(resetting) as bad, backend(named(b"good")) as good:
        rules = policy(http(bad, good), "    balance: round-robin\n    eject: none\n")
        async with running(rules) as upstreams:
            for _ in range(4):
                assert await whole(await ask(upstreams, rules)) == b"good"
            reasons = []
            for _ in range(4):
                try:
                    reasons.append(await whole(await ask(upstreams, rules, "POST")))
                except Refused as refused:
                    reasons.append(refused.reason.slug.encode())

    assert sorted(reasons) == [b"good"] * 2 + [b"upstream-reset"] * 2


async def test_request_is_sent_twice_at_the_most() -> None:
    """Two servers that reset are no endless loop."""
    seen = 0

    async def counting(client: Client) -> None:
        nonlocal seen
        await client.reader.readuntil(b"\r\n\r\n")
        seen += 1
        client.reset()

    async with backend(counting) as one, backend(counting) as two:
        rules = policy(http(one, two))
        async with running(rules) as upstreams:
            assert await refusal(upstreams, rules) is Reason.UPSTREAM_RESET

    assert seen == 2


async def test_nothing_is_sent_twice_where_the_policy_says_never() -> None:
    """Even a GET on a connection that had been used before is sent once."""
    async with backend(once) as port:
        rules = policy(http(port), "    retry: never\n")
        async with running(rules) as upstreams:
            await whole(await ask(upstreams, rules))

            assert await refusal(upstreams, rules) is Reason.UPSTREAM_RESET


async def test_health_decides_who_gets_requests() -> None:
    """A server that its check does not reach is passed over, until it does again."""
    async with backend(named(b"one")) as one, backend(named(b"two")) as two:
        rules = policy(http(one, two), "    balance: round-robin\n")
        async with running(rules) as upstreams:
            first = Server(host="127.0.0.1", port=one)
            upstreams.health_changed("lms", first, up=False)
            answers = {await whole(await ask(upstreams, rules)) for _ in range(4)}
            assert answers == {b"two"}
            third = policy(http(one, two, closed_port()), "    balance: round-robin\n")
            configure(upstreams, third)
            assert not upstreams._balancers["lms"].pools[0].up
            upstreams.health_changed("lms", first, up=True)
            upstreams.health_changed("nobody", first, up=True)
            answers = {await whole(await ask(upstreams, third)) for _ in range(4)}

            assert answers == {b"one", b"two"}


# -- servers that hang


async def test_stopped_backend_is_a_timeout() -> None:
    """The system takes the connection, and then nothing comes."""
    with stopped() as port:
        rules = policy(http(port), "    timeouts: {first_byte: 200ms}\n")
        async with running(rules) as upstreams:
            assert await refusal(upstreams, rules) is Reason.UPSTREAM_TIMEOUT


async def test_full_accept_queue_is_a_timeout_of_connecting() -> None:
    """A backend that takes no connections costs as long as the policy says."""
    with full() as port:
        rules = policy(http(port), "    timeouts: {connect: 200ms}\n")
        async with running(rules) as upstreams:
            assert await refusal(upstreams, rules) is Reason.UPSTREAM_TIMEOUT
            assert upstreams.pending() == [(("lms",), 0)]


async def test_rule_may_be_more_patient_than_its_backend() -> None:
    """A rule's own time counts for it, and for no other."""

    async def slow(client: Client) -> None:
        while True:
            await client.reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.5)
            await client.send(OK)

    async with backend(slow) as port:
        more = "    timeouts: {first_byte: 100ms, idle: 5s}\n"
        hasty = policy(http(port), more)
        patient = policy(http(port), more, "    timeouts: {first_byte: 5s}\n")
        async with running(patient) as upstreams:
            assert (await ask(upstreams, patient)).status == 200
            assert await refusal(upstreams, hasty) is Reason.UPSTREAM_TIMEOUT


# -- the breaker


async def test_request_waits_no_longer_for_a_connection_than_for_a_new_one() -> None:
    """A backend whose connections are all busy is a 503, soon, and with advice."""
    async with backend(silent) as port:
        rules = policy(
            http(port),
            "    timeouts: {connect: 200ms}\n    breaker: {connections: 1}\n",
        )
        async with running(rules) as upstreams:
            first = asyncio.ensure_future(ask(upstreams, rules))
            await eventually(lambda: upstreams.connections()[1][1] == 1)
            waiting = asyncio.ensure_future(ask(upstreams, rules))
            await eventually(lambda: upstreams.pending() == [(("lms",), 1)])
            with pytest.raises(Refused) as refused:
                await waiting
            first.cancel()

    assert refused.value.reason is Reason.UPSTREAM_BUSY
    assert refused.value.headers == (("Retry-After", "1"),)


async def test_what_is_in_flight_is_bounded() -> None:
    """The request past the bound is refused at once, and the next is served."""
    async with backend(silent) as one, backend(silent) as two:
        rules = policy(http(one, two), "    breaker: {in_flight: 2}\n")
        async with running(rules) as upstreams:
            asked = [asyncio.ensure_future(ask(upstreams, rules)) for _ in range(2)]
            await eventually(
                lambda: dict(upstreams.connections())["lms", "active"] == 2
            )
            assert await refusal(upstreams, rules) is Reason.UPSTREAM_BUSY
            asked[0].cancel()
            await eventually(
                lambda: dict(upstreams.connections())["lms", "active"] == 1
            )
            third = asyncio.ensure_future(ask(upstreams, rules))
            await eventually(
                lambda: dict(upstreams.connections())["lms", "active"] == 2
            )
            for one_of_them in (asked[1], third):
                one_of_them.cancel()


# -- connections that were used before


async def test_connection_that_closed_while_resting_is_not_used_for_an_order() -> None:
    """What cannot be sent twice goes on a connection that the system knows is open."""
    served = 0

    async def keeps_short(client: Client) -> None:
        nonlocal served
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(OK)
        served += 1
        client.writer.close()

    async with backend(keeps_short) as port:
        rules = policy(http(port))
        async with running(rules) as upstreams:
            [pool] = upstreams._balancers["lms"].pools
            pool.rested = -1.0  # even one that was used in this tick of the loop
            for _ in range(5):
                await whole(await ask(upstreams, rules, "POST"))
                # The backend has closed, and our loop has not looked yet.
                while pool.idle and not pool.idle[0].is_stale():  # noqa: ASYNC110
                    await asyncio.sleep(0)

    assert served == 5


# -- other kinds of servers


async def test_unix_socket_is_a_server(tmp_path: Path) -> None:
    """A service beside the proxy needs no port."""
    path = tmp_path / "lms.sock"

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await named(b"unix")(Client(reader, writer))

    async with await asyncio.start_unix_server(answer, path):
        rules = policy(f'"unix:{path}"')
        async with running(rules) as upstreams:
            assert await whole(await ask(upstreams, rules)) == b"unix"
            assert upstreams.ejected() == [(("lms", f"unix:{path}"), 0.0)]
    path.unlink(missing_ok=True)
    gone = policy(f'"unix:{path}"')
    async with running(gone) as upstreams:
        assert await refusal(upstreams, gone) is Reason.UPSTREAM_REFUSED


@contextlib.asynccontextmanager
async def secure(
    script: Script, certificate: str, key: str, client_ca: str | None = None
) -> AsyncIterator[int]:
    """Run a backend that speaks TLS; yield its port."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await script(Client(reader, writer))
        writer.close()

    tls = context_for_server(certificate=certificate, key=key, client_ca=client_ca)
    server = await asyncio.start_server(play, "127.0.0.1", 0, ssl=tls.for_listener())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_both_sides_prove_themselves(tmp_path: Path) -> None:
    """Mutual TLS: the backend's certificate is checked, and ours shown."""
    authority = Authority(tmp_path)
    mine, key = authority.sign("proxy")
    async with secure(
        named(b"sealed"), *authority.sign("127.0.0.1"), authority.file
    ) as port:
        server = f'"https://127.0.0.1:{port}"'
        rules = policy(
            server,
            f"    tls: {{ca: {authority.file}, certificate: {mine}, key: {key}}}\n",
        )
        async with running(rules) as upstreams:
            for _ in range(3):
                assert await whole(await ask(upstreams, rules)) == b"sealed"
            assert dict(upstreams.connections())["lms", "idle"] == 1
            [(names, expires)] = upstreams.certificates()
            assert names == ("lms",)
            assert expires > 1e9
            assert upstreams.certificates_good() == [(("lms",), 1.0)]
        anonymous = policy(server, f"    tls: {{ca: {authority.file}}}\n")
        async with running(anonymous) as upstreams:
            assert await refusal(upstreams, anonymous) in {
                Reason.UPSTREAM_RESET,
                Reason.UPSTREAM_UNTRUSTED,
            }


@pytest.mark.parametrize("case", ["stranger", "name", "no TLS"])
async def test_backend_that_does_not_prove_itself_gets_nothing(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not one byte of a request is sent to it, and the log says why, once."""
    received: list[bytes] = []

    async def listens(client: Client) -> None:
        received.append(await client.reader.read(1))
        await client.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    trusted = Authority(tmp_path / "trusted")
    signer = Authority(tmp_path / "bad", "bad") if case == "stranger" else trusted
    files = signer.sign("lms.test" if case == "name" else "127.0.0.1")
    running_backend = backend(listens) if case == "no TLS" else secure(listens, *files)
    async with running_backend as port:
        rules = policy(
            f'"https://127.0.0.1:{port}"', f"    tls: {{ca: {trusted.file}}}\n"
        )
        with caplog.at_level(logging.WARNING, "lumina.upstream"):
            async with running(rules) as upstreams:
                for _ in range(3):
                    reason = await refusal(upstreams, rules)
                    assert reason is Reason.UPSTREAM_UNTRUSTED

    assert case == "no TLS" or not received
    assert len(caplog.records) == 1
    assert f"127.0.0.1:{port}" in caplog.text


async def test_name_of_the_certificate_may_be_another(tmp_path: Path) -> None:
    """A server that is asked by its address proves the name that the policy says."""
    authority = Authority(tmp_path)
    async with secure(named(b"ok"), *authority.sign("lms.test")) as port:
        rules = policy(
            f'"https://127.0.0.1:{port}"',
            f"    tls: {{ca: {authority.file}, server_name: lms.test}}\n",
        )
        async with running(rules) as upstreams:
            assert await whole(await ask(upstreams, rules)) == b"ok"


def copy(source: str, target: Path) -> None:
    """Write a file over another."""
    target.write_bytes(Path(source).read_bytes())


async def test_new_authority_ends_what_the_old_one_vouched_for(tmp_path: Path) -> None:
    """A changed file is followed without a signal; connections made before it end."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new", "new")
    ca = tmp_path / "ca.pem"
    copy(old.file, ca)
    async with secure(named(b"old"), *old.sign("127.0.0.1")) as port:
        rules = policy(f'"https://127.0.0.1:{port}"', f"    tls: {{ca: {ca}}}\n")
        async with running(rules, look_at_files=0.02) as upstreams:
            assert await whole(await ask(upstreams, rules)) == b"old"
            ca.write_bytes(b"half a certificate")
            await eventually(lambda: upstreams.certificates_good()[0][1] == 0.0)
            assert await whole(await ask(upstreams, rules)) == b"old"
            copy(new.file, ca)
            await eventually(lambda: upstreams.certificates_good()[0][1] == 1.0)

            assert await refusal(upstreams, rules) is Reason.UPSTREAM_UNTRUSTED


async def test_reload_follows_files_at_once(tmp_path: Path) -> None:
    """A signal does not wait for the next look at the files."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new", "new")
    ca = tmp_path / "ca.pem"
    copy(old.file, ca)
    async with secure(named(b"old"), *old.sign("127.0.0.1")) as port:
        rules = policy(f'"https://127.0.0.1:{port}"', f"    tls: {{ca: {ca}}}\n")
        async with running(rules) as upstreams:
            assert await whole(await ask(upstreams, rules)) == b"old"
            copy(new.file, ca)
            configure(upstreams, rules)

            assert await refusal(upstreams, rules) is Reason.UPSTREAM_UNTRUSTED


async def test_certificate_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    """A policy whose files cannot be used is refused whole."""
    async with backend(named(b"first")) as port:
        rules = policy(http(port))
        async with running(rules) as upstreams:
            missing = tmp_path / "ca.pem"
            broken = policy(
                f'"https://127.0.0.1:{port}"', f"    tls: {{ca: {missing}}}\n"
            )
            with pytest.raises(TlsError, match=r"ca\.pem"):
                configure(upstreams, broken)

            assert await whole(await ask(upstreams, rules)) == b"first"


# -- reloads


async def test_reload_keeps_connections_of_servers_that_stay() -> None:
    """An unchanged server notices nothing."""
    async with backend(named(b"one")) as port:
        rules = policy(http(port))
        async with running(rules) as upstreams:
            await whole(await ask(upstreams, rules))
            [before] = upstreams._balancers["lms"].pools
            again = policy(http(port, closed_port()))
            configure(upstreams, again)

            assert upstreams._balancers["lms"].pools[0] is before
            assert dict(upstreams.connections())["lms", "idle"] == 1
            # A request that holds the policy before is served as well.
            assert await whole(await ask(upstreams, rules)) == b"one"


async def test_servers_that_a_reload_removed_are_forgotten() -> None:
    """Their idle connections are closed at once, and no series of them stays."""
    async with backend(named(b"one")) as one, backend(named(b"two")) as two:
        rules = policy(http(one))
        async with running(rules) as upstreams:
            await whole(await ask(upstreams, rules))
            other = policy(http(two), name="other")
            configure(upstreams, other)
            assert await whole(await ask(upstreams, other)) == b"two"
            await eventually(
                lambda: {names[0] for names, _ in upstreams.connections()} == {"other"}
            )

            assert not upstreams._retired


async def test_answer_under_way_outlives_its_server() -> None:
    """A stream of a server that a reload removed is read to its end, then closed."""
    go = asyncio.Event()
    left = asyncio.Event()

    async def in_two_parts(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
        await go.wait()
        await client.send(b"two")
        await client.reader.read()
        left.set()

    async with backend(in_two_parts) as one, backend(named(b"new")) as two:
        rules = policy(http(one))
        async with running(rules) as upstreams:
            response = await ask(upstreams, rules)
            new = policy(http(two))
            configure(upstreams, new)
            assert await whole(await ask(upstreams, new)) == b"new"
            assert len(upstreams._retired) == 1
            go.set()
            assert await whole(response) == b"onetwo"
            await asyncio.wait_for(left.wait(), 5.0)
            await eventually(lambda: not upstreams._retired)


async def test_request_of_an_earlier_policy_goes_where_that_one_says() -> None:
    """A request that was matched before a reload is sent by what matched it."""
    async with backend(named(b"old")) as one, backend(named(b"new")) as two:
        old, new = policy(http(one)), policy(http(two))
        async with running(old) as upstreams:
            configure(upstreams, new)
            assert await whole(await ask(upstreams, old)) == b"old"
            assert await whole(await ask(upstreams, new)) == b"new"
            await eventually(lambda: not upstreams._retired)
            [pool] = upstreams._balancers["lms"].pools

            assert pool.server.port == two
            assert await whole(await ask(upstreams, old)) == b"old"
