"""The machine's conditions: read from files that a test writes, and from this very machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from quickness import takes_less

from slmeval.conditions import Watch, told_load
from slmeval.types import Conditions

TICKS = os.sysconf("SC_CLK_TCK")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="there is no /proc")


class Machine:
    """A machine of two cores whose files are written by hand, with a clock of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, 50.0
        self.cores = [{"user": 100, "idle": 100, "iowait": 0, "steal": 0} for _ in range(2)]
        #: by number: the process that started it, and its seconds
        self.processes: dict[int, tuple[int, float]] = {7: (1, 2.0), 1: (0, 50.0)}
        self.write()

    def clock(self) -> float:
        return self.now

    def watch(self) -> Watch:
        return Watch(self.root, clock=self.clock, pid=7, cores=[0, 1])

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def pass_time(self, seconds: float, **spent: float) -> None:
        """``seconds`` of each core, of which both together ``spent`` so many; the rest is idle."""
        self.now += seconds
        for core in self.cores:
            for what, share in spent.items():
                core[what] += round(TICKS * share / 2)
            core["idle"] += round(TICKS * (seconds - sum(spent.values()) / 2))
        self.write()

    def take(self, process: int, seconds: float, parent: int = 1) -> None:
        before = self.processes.get(process, (parent, 0.0))
        self.processes[process] = (before[0], before[1] + seconds)
        self.write()

    def write(self) -> None:
        lines = [
            f"cpu{number} {core['user']} 0 0 {core['idle']} {core['iowait']} 0 0 {core['steal']} 5 0"
            for number, core in enumerate(self.cores)
        ]
        self.put("proc/stat", "\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *lines, "intr 1 2", "btime 3"]))
        for number, (parent, seconds) in self.processes.items():
            ticks = round(TICKS * seconds)
            # a name may hold what else ends it
            told = f"{number} (a ) b (c) S {parent} 0 0 0 0 0 0 0 0 0 {ticks - 1} 1 0 0 20 0 1 0 0"
            self.put(f"proc/{number}/stat", told)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# ---- who took the cores ------------------------------------------------------------------------------


def test_the_time_of_others_is_what_is_left_of_that_of_all(machine: Machine) -> None:
    watch = machine.watch()
    machine.take(7, 1.0)
    machine.pass_time(2.0, user=2.5)
    # of four seconds of two cores 2.5 were taken, and one of them was its own
    assert watch.look().busy == pytest.approx(1.5 / 4, abs=0.01)


def test_each_look_is_since_the_one_before(machine: Machine) -> None:
    watch = machine.watch()
    machine.pass_time(2.0, user=4.0)
    first = watch.look()
    machine.pass_time(1.0)
    second = watch.look()
    assert (first.busy, second.busy) == (pytest.approx(1), 0)
    assert (first.at, second.at) == (2.0, 3.0)


def test_what_it_started_counts_as_itself(machine: Machine) -> None:
    machine.take(20, 1.0, parent=7)
    machine.take(21, 1.0, parent=20)
    watch = machine.watch()
    machine.take(21, 2.0)
    machine.take(30, 1.0, parent=1)
    machine.pass_time(2.0, user=3.0)
    assert watch.look().busy == pytest.approx(1 / 4, abs=0.01)


def test_time_for_other_machines_is_taken_and_time_that_is_waited_is_not(machine: Machine) -> None:
    watch = machine.watch()
    machine.pass_time(2.0, steal=1.0, iowait=2.0)
    assert watch.look().busy == pytest.approx(1 / 4, abs=0.01)


def test_cores_that_it_may_not_use_do_not_count(machine: Machine) -> None:
    watch = Watch(machine.root, clock=machine.clock, pid=7, cores=[1])
    machine.cores[0]["user"] += 2 * TICKS
    machine.cores[1]["idle"] += 2 * TICKS
    machine.now += 2
    machine.write()
    assert watch.look().busy == 0


def test_a_moment_too_short_tells_nothing_and_is_not_lost(machine: Machine) -> None:
    watch = machine.watch()
    machine.pass_time(0.05, user=0.1)
    assert watch.look().busy is None
    machine.pass_time(0.95)
    assert watch.look().busy == pytest.approx(0.05, abs=0.01)


def test_counters_that_stand_still_are_no_counters(machine: Machine) -> None:
    watch = machine.watch()
    machine.now += 2
    assert watch.look().busy is None


def test_counters_of_another_machine_are_none_of_this_one(machine: Machine) -> None:
    watch = machine.watch()
    machine.pass_time(4.0, user=1.0)
    machine.now -= 2
    assert watch.look().busy is None


def test_a_process_that_took_more_than_all_is_not_believed(machine: Machine) -> None:
    watch = machine.watch()
    machine.take(7, 4.0)
    machine.pass_time(2.0, user=1.0)
    assert watch.look().busy is None


@pytest.mark.parametrize("missing", ["proc/stat", "proc/7/stat"])
def test_without_the_counters_nothing_is_said(machine: Machine, missing: str) -> None:
    (machine.root / missing).unlink()
    watch = machine.watch()
    machine.now += 2
    assert watch.look().busy is None


# ---- clock, load and heat ----------------------------------------------------------------------------


def test_the_clock_is_the_mean_of_the_usable_cores(machine: Machine) -> None:
    for core, kilohertz in enumerate((3_000_000, 2_000_000, 9_000_000)):
        machine.put(f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{kilohertz}\n")
    assert machine.watch().look().clock == 2500


CPUINFO = "processor\t: {core}\nflags\t\t: fpu {flag}\ncpu MHz\t\t: {clock}\n\n"


def cpuinfo(flag: str) -> str:
    blocks = ((0, "3000.5"), (1, "2000.5"), (2, "9000"))
    return "".join(CPUINFO.format(core=core, flag=flag, clock=clock) for core, clock in blocks)


def test_without_a_driver_the_clock_is_that_of_cpuinfo(machine: Machine) -> None:
    machine.put("proc/cpuinfo", cpuinfo("aperfmperf"))
    assert machine.watch().look().clock == 2500.5


def test_a_clock_that_was_not_measured_is_not_told(machine: Machine) -> None:
    """In a virtual machine cpuinfo has the clock that the core was sold with, and it never moves."""
    machine.put("proc/cpuinfo", cpuinfo("hypervisor"))
    assert machine.watch().look().clock is None


@pytest.mark.parametrize(
    ("governors", "told"),
    [
        (("powersave", "powersave"), "powersave"),
        (("powersave", "performance"), "performance, powersave"),
        ((), ""),
    ],
)
def test_the_governor_is_named(machine: Machine, governors: tuple[str, ...], told: str) -> None:
    for core, governor in enumerate(governors):
        machine.put(f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", f"{governor}\n")
    assert machine.watch().look().governor == told


def test_the_load_is_that_of_the_last_minute(machine: Machine) -> None:
    machine.put("proc/loadavg", "1.25 2.5 3.5 2/345 6789\n")
    assert machine.watch().look().load == 1.25


def test_a_sandbox_that_counts_no_process_does_not_tell_the_load(machine: Machine) -> None:
    machine.put("proc/loadavg", "0.00 0.00 0.00 0/0 0\n")
    assert machine.watch().look().load is None


def test_without_proc_the_system_is_asked_for_its_load(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.0, 0.0))
    assert machine.watch().look().load == 0.5
    monkeypatch.delattr(os, "getloadavg")
    assert machine.watch().look().load is None


def test_the_temperature_is_that_of_the_hottest_zone(machine: Machine) -> None:
    for zone, text in enumerate(("45000\n", "61500\n", "-274000\n", "200000\n", "no number")):
        machine.put(f"sys/class/thermal/thermal_zone{zone}/temp", text)
    (machine.root / "sys/class/thermal/thermal_zone9/temp").mkdir(parents=True)
    assert machine.watch().look().temperature == 61.5


def test_a_machine_that_tells_nothing_is_said_nothing_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "getloadavg")
    times = iter([3.0, 4.0, 5.0, 6.0])
    assert Watch(tmp_path, clock=lambda: next(times)).look() == Conditions(1.0)


# ---- this very machine -------------------------------------------------------------------------------


@contextmanager
def running(code: str) -> Iterator[int]:
    """A Python process of its own, by its number."""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@needs_proc
def test_the_work_of_a_process_is_that_of_another_or_ones_own() -> None:
    core = min(os.sched_getaffinity(0))
    with running("while True: pass") as spinning, running("import time; time.sleep(3600)") as asleep:
        os.sched_setaffinity(spinning, {core})
        # a machine at work may hold up one look and not the other
        tries = [differences(asleep, spinning, core)]
        while len(tries) < 5 and not (tries[-1] and alike(*tries[-1])):
            tries.append(differences(asleep, spinning, core))
    told = [each for each in tries if each]
    if not told:
        pytest.skip("this machine's counters do not add up")
    assert any(alike(*each) for each in told), told


def differences(asleep: int, spinning: int, core: int) -> tuple[float, float] | None:
    """While one process takes two seconds: by how much its work is more that of others to a process that did
    not start it than to this one, as shares of the core, and what it took. ``None``: it is not told.
    """
    of_another, of_ours = Watch(pid=asleep, cores=[core]), Watch(cores=[core])
    before, until = seconds_of(spinning), time.monotonic() + 120
    while seconds_of(spinning) - before < 2 and time.monotonic() < until:
        time.sleep(0.05)
    looks = of_another.look(), of_ours.look()
    spun = (seconds_of(spinning) - before) / looks[0].at
    other, own = (look.busy for look in looks)
    return None if other is None or own is None else (other - own, spun)


def alike(difference: float, spun: float) -> bool:
    """Where it got little of the core, all the nearer to what it got."""
    return abs(difference - spun) < min(0.15, spun / 2)


@needs_proc
def test_a_look_takes_no_time_worth_speaking_of() -> None:
    watch = Watch()
    assert takes_less(watch.look, 0.1)


# ---- what a report says ------------------------------------------------------------------------------


def test_a_loaded_machine_is_told_of() -> None:
    """Of two seconds 20% and of one 89%: that is 43% of all three."""
    conditions = [Conditions(2.0, busy=0.2), Conditions(3.0, busy=0.89)]
    assert told_load(conditions, 2) == "other processes took 43% of the 2 cores while this was measured"
    assert told_load(conditions, 2, served=True) == (
        "other processes, the server's among them if it runs on this machine, took 43% of the 2 cores while "
        "this was measured"
    )


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        [Conditions(0.0), Conditions(5.0)],
        [Conditions(0.0), Conditions(5.0, busy=0.04)],
        # the load may be that of the model itself
        [Conditions(0.0, load=2.0), Conditions(5.0, busy=0.04, load=9.0)],
        [Conditions(0.0, load=2.0), Conditions(5.0, load=9.0)],
    ],
)
def test_a_machine_that_was_not_loaded_needs_no_word(conditions: list[Conditions]) -> None:
    assert told_load(conditions, 2) is None


def test_where_it_is_not_told_who_took_the_cores_the_load_before_is() -> None:
    conditions = [Conditions(0.0, load=7.25), Conditions(5.0, load=9.0)]
    assert told_load(conditions, 2) == (
        "7.2 processes ran or waited for the 2 cores in the minute before this was measured"
    )
