"""A SLURM of this machine alone, for tests: it needs root, slurm-wlm and munge."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

COMMANDS = ("slurmctld", "slurmd", "sbatch", "munged")

SUBMITIT = "submitit.core._submit"
"""The module that a job runs."""

CONFIGURATION = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=1,sched_interval=2
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MinJobAge=5
MaxArraySize={largest_array}
AuthInfo=cred_expire=10
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def is_installed() -> bool:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return os.geteuid() == 0 and all(shutil.which(each, path=path) for each in COMMANDS)


class Cluster:
    """Started on demand, stopped by `stop`. `environment` is what its commands need."""

    def __init__(self, folder: Path, largest_array: int = 1001) -> None:
        if not is_installed():
            raise RuntimeError("expected root, slurm-wlm and munge to start a SLURM: install them")
        self.folder = folder
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        port, node_port = free_ports(2)
        text = CONFIGURATION.format(
            folder=folder, host=os.uname().nodename, port=port, node_port=node_port,
            largest_array=largest_array,
        )  # fmt: skip
        (folder / "slurm.conf").write_text(text)
        start_munge()
        self.call("slurmctld")
        self.start_node()
        self.wait_until_idle()

    def start_node(self) -> None:
        self.call("slurmd")

    def call(self, *command: str) -> str:
        done = self.attempt(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def attempt(self, *command: str) -> subprocess.CompletedProcess[str]:
        """What may fail: a job can end just before it is spoken of."""
        environment = os.environ | self.environment | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=60, check=False
        )

    def wait_until_idle(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while "idle" not in self.call("sinfo", "--noheader", "--format=%T"):
            assert time.monotonic() < deadline, self.call("sinfo")
            time.sleep(0.2)

    def jobs(self) -> dict[str, str]:
        """States by number, also of jobs that ended some seconds ago."""
        lines = self.call("squeue", "--noheader", "--array", "--states=all", "--format=%i %T")
        return dict(line.split() for line in lines.splitlines())

    def kill_node(self) -> None:
        """Its daemon and all that it runs, at once, as when a machine loses power."""
        self.kill_daemon("slurmd")
        for step in self.steps():
            for process in [*descendants(step), step]:
                kill(process)

    def stop(self) -> None:
        self.kill_daemon("slurmctld")  # first: it would queue the node's jobs again
        self.kill_node()

    def kill_daemon(self, name: str) -> None:
        try:
            kill(int((self.folder / f"{name}.pid").read_text()))
        except FileNotFoundError:
            return

    def steps(self) -> list[int]:
        """The processes that keep its jobs, not those of another SLURM of this machine."""
        return [step for step in running("slurmstepd") if works_in(step, self.folder)]

    def trainers(self) -> list[int]:
        """The processes in which its jobs train."""
        below = [each for step in self.steps() for each in descendants(step)]
        return [each for each in below if arguments(each)[1:4] == ["-u", "-m", SUBMITIT]]


def free_ports(count: int) -> list[int]:
    """All at once, so that no two are the same."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in listening]
    for each in listening:
        each.close()
    return ports


def start_munge() -> None:
    if running("munged"):
        return
    subprocess.run(
        ["install", "-d", "-o", "munge", "-g", "munge", "-m", "755", "/run/munge"], check=True
    )
    subprocess.run(["runuser", "-u", "munge", "--", "/usr/sbin/munged"], check=True)


def processes() -> dict[int, tuple[str, int]]:
    """The name and the parent of each process."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = entry.read_text().split(" (", 1)
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, fields = rest.rsplit(") ", 1)
        found[int(number)] = name, int(fields.split()[1])
    return found


def works_in(process: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{process}/cwd").readlink() == folder
    except OSError:
        return False


def arguments(process: int) -> Sequence[str]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def running(name: str) -> list[int]:
    return [number for number, (own, _) in processes().items() if own == name]


def descendants(process: int) -> list[int]:
    parents = {number: parent for number, (_, parent) in processes().items()}
    children = [number for number, parent in parents.items() if parent == process]
    return [*(each for child in children for each in descendants(child)), *children]


def kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
