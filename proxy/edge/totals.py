"""What the workers counted, added up; and what those counted that are gone."""

from collections.abc import Iterable, Iterator

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.edge.numbers import Numbers

_SUMMED = (
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
)


class Totals:
    """Numbers of processes that come and go; counters never go back.

    A process is known by its pid, until it is lost.
    """

    def __init__(self) -> None:
        self._lost = Numbers()
        self._latest: dict[int, Numbers] = {}

    def update(self, pid: int, numbers: Numbers) -> None:
        """Note what a process shows now."""
        self._latest[pid] = numbers

    def lose(self, pid: int) -> None:
        """Keep what a process had counted when it was last asked."""
        numbers = self._latest.pop(pid, None)
        if numbers is not None:
            self._lost.add_all(numbers.counted())

    def numbers(self) -> Numbers:
        """Return the sum."""
        total = Numbers()
        for one in (self._lost, *self._latest.values()):
            total.add_all(one)
        return total


class Processes(Collector):
    """The process metrics of Prometheus's convention, over several processes.

    CPU time, memory, open files and their limit are sums; the start is that of the
    process itself. A process that was lost counts with the
    CPU time that it had when it was last looked at.

    Args:
        own: the pid of the process that shows them.
    """

    def __init__(self, own: int) -> None:
        self._own = own
        self._others: set[int] = set()
        self._cpu: dict[int, float] = {}
        self._lost_cpu = 0.0

    def configure(self, pids: Iterable[int]) -> None:
        """Count these processes, and this one."""
        self._others = set(pids)
        for gone in self._cpu.keys() - self._others - {self._own}:
            self._lost_cpu += self._cpu.pop(gone)

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        seen = [
            {metric.name: metric for metric in families}
            for pid in (self._own, *sorted(self._others))
            if (families := self._look(pid))
        ]
        own = seen[0]
        cpu = own["process_cpu_seconds"]
        seconds = self._lost_cpu + sum(self._cpu.values())
        yield CounterMetricFamily(cpu.name, cpu.documentation, seconds)
        for name in _SUMMED:
            total = sum(_value(one[name]) for one in seen)
            yield GaugeMetricFamily(name, own[name].documentation, total)
        yield own["process_start_time_seconds"]

    def _look(self, pid: int) -> list[Metric]:
        """Return the families of one process; none when it is gone."""
        families = list(ProcessCollector(pid=lambda: pid, registry=None).collect())
        names = {metric.name for metric in families}
        if not {"process_cpu_seconds", "process_max_fds"} <= names:
            return []
        for metric in families:
            if metric.name == "process_cpu_seconds":
                self._cpu[pid] = _value(metric)
        return families


def _value(metric: Metric) -> float:
    return float(metric.samples[0].value)
