"""Several real Redis servers that know each other: a Cluster, a master with Sentinels.

Nodes agree on who is dead within a second, so that a test can wait for a failover.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from tests.certificates import Authority
from tests.ports import free_port, free_ports
from tests.redis_server import RedisServer

_DEADLINE = 20.0
_NODE_TIMEOUT_MS = 500
SLOTS = 16_384


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fail when it never does."""
    deadline = time.monotonic() + _DEADLINE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class RedisCluster:
    """Masters that share the slots evenly, and perhaps a replica of the first.

    Args:
        folder: where they run.
        masters: how many.
        replicas: how many of the first master.
        authority: signs what they show with TLS, and then nothing is plain.
    """

    def __init__(
        self,
        folder: Path,
        masters: int = 3,
        replicas: int = 0,
        authority: Authority | None = None,
    ) -> None:
        self._authority = authority
        self._buses: dict[int, int] = {}
        self.masters = [self._node(folder) for _ in range(masters)]
        self.replicas = [self._node(folder) for _ in range(replicas)]

    def _node(self, folder: Path) -> RedisServer:
        bus = free_port()
        tls = ("--tls-cluster", "yes") if self._authority else ()
        # Its configuration is named after the bus: it must not be another node's.
        server = RedisServer(
            folder,
            *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
            *("--cluster-config-file", f"nodes-{bus}.conf"),
            *("--cluster-node-timeout", str(_NODE_TIMEOUT_MS), *tls),
            authority=self._authority,
        )
        self._buses[server.port] = bus
        return server

    @property
    def nodes(self) -> list[RedisServer]:
        """Every server."""
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        """How a store finds them all."""
        places = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        if self._authority is None:
            return f"redis+cluster://{places}"
        return f"rediss+cluster://{places}?ssl_ca_certs={self._authority.file}"

    def start(self) -> None:
        """Start the servers and wait until they are one cluster."""
        for node in self.nodes:
            node.start()
        count = len(self.masters)
        for number, master in enumerate(self.masters):
            first, after = (SLOTS * n // count for n in (number, number + 1))
            # So that the first handshake needs no vote about who is newer.
            master.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            master.command("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        for node in self.nodes[1:]:
            where = ("127.0.0.1", node.port, self._buses[node.port])
            self.masters[0].command("CLUSTER", "MEET", *where)
        until(self._know_each_other, "the nodes do not meet")
        for replica in self.replicas:
            name = self.masters[0].command("CLUSTER", "MYID")
            replica.command("CLUSTER", "REPLICATE", name)
        until(self._is_whole, "the cluster is not whole")

    def _know_each_other(self) -> bool:
        return all(
            node.command("CLUSTER", "NODES").count("\n") == len(self.nodes)
            for node in self.nodes
        )

    def _is_whole(self) -> bool:
        return all(
            "cluster_state:ok" in node.command("CLUSTER", "INFO") for node in self.nodes
        ) and all(
            replica.command("INFO", "replication")["master_link_status"] == "up"
            for replica in self.replicas
        )

    def flush(self) -> None:
        """Forget every key."""
        for master in self.masters:
            master.command("FLUSHALL")

    def move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Begin to move a slot: new keys are the target's, old ones the source's."""
        names = [node.command("CLUSTER", "MYID") for node in (source, target)]
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])

    def finish_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move the keys of a slot, and give it to the target."""
        name = target.command("CLUSTER", "MYID")
        for key in source.command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            source.command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        for node in (target, source, *self.masters):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", name)

    def kill(self) -> None:
        """End every server."""
        for node in self.nodes:
            node.kill()


class RedisSentinels:
    """A master, a replica of it, and three Sentinels that watch them.

    Args:
        folder: where they run.
    """

    NAME = "lumina"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.servers = [RedisServer(folder), RedisServer(folder)]
        self._ports = free_ports(3)
        self._sentinels: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """How a store finds the master."""
        places = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"redis+sentinel://{places}/{self.NAME}"

    @property
    def master(self) -> RedisServer:
        """The server that the first Sentinel that knows one calls the master."""
        port = int(self._ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)[1])
        return next(server for server in self.servers if server.port == port)

    def _ask(self, *words: str) -> list[str]:
        with redis.Redis(port=self._ports[0], decode_responses=True) as client:
            answer: list[str] = client.execute_command(*words)
            return answer

    def start(self) -> None:
        """Start everything, and wait until every Sentinel knows the others."""
        master, replica = self.servers
        master.start()
        replica.start()
        replica.command("REPLICAOF", "127.0.0.1", master.port)
        replication = ("INFO", "replication")
        until(
            lambda: replica.command(*replication)["master_link_status"] == "up",
            "the replica does not follow",
        )
        for port in self._ports:
            self._start_sentinel(port, master.port)
        until(self._watch, "the Sentinels do not watch")

    def _start_sentinel(self, port: int, master: int) -> None:
        file = self._folder / f"sentinel-{port}.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\n"
            f"sentinel monitor {self.NAME} 127.0.0.1 {master} 2\n"
            f"sentinel down-after-milliseconds {self.NAME} {_NODE_TIMEOUT_MS}\n"
            f"sentinel failover-timeout {self.NAME} 2000\n"
        )
        self._sentinels.append(
            subprocess.Popen(
                ["redis-server", file, "--sentinel"],
                cwd=self._folder,
                stdout=subprocess.DEVNULL,
            )
        )

    def _watch(self) -> bool:
        for port in self._ports:
            try:
                with redis.Redis(port=port, decode_responses=True) as client:
                    seen = client.sentinel_master(self.NAME)
            except redis.ConnectionError:
                return False
            if (seen["num-other-sentinels"], seen["num-slaves"]) != (2, 1):
                return False
        return True

    def kill(self) -> None:
        """End everything."""
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait(_DEADLINE)
        for server in self.servers:
            server.kill()


@contextlib.contextmanager
def redis_cluster(
    folder: Path,
    masters: int = 3,
    replicas: int = 0,
    authority: Authority | None = None,
) -> Iterator[RedisCluster]:
    """Run a Cluster for the length of a ``with`` block."""
    cluster = RedisCluster(folder, masters, replicas, authority)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


@contextlib.contextmanager
def redis_sentinels(folder: Path) -> Iterator[RedisSentinels]:
    """Run a master with Sentinels for the length of a ``with`` block."""
    group = RedisSentinels(folder)
    try:
        group.start()
        yield group
    finally:
        group.kill()
