"""Stacks as jobs that submitit submits: to SLURM as arrays, or on this machine to try it."""

import io
import logging
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from runlab import program
from runlab.config.fingerprint import watchers_of
from runlab.launchers import slurm
from runlab.launchers.part import Job, LostPartError, Outcome, Part
from runlab.launchers.stacked import Result, StackedMixin, outcomes_of
from runlab.launchers.submissions import Submission, read_submissions, record_submissions
from runlab.sweeps.callback import SweepCallback
from runlab.sweeps.jobs import identifying
from runlab.text import plural

log = logging.getLogger(__name__)

CLUSTERS = ("slurm", "local")

SHARED = (
    *("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "name"),
    "stderr_to_stdout",
)
"""Parameters that submitit has for every cluster; the others are SLURM's."""

EVERY, EVERY_STATES = 1.0, 5.0
"""Seconds between two looks for results, and between two questions to SLURM."""

CERTAIN = 3
"""So often in turn SLURM has to say that a job has ended, before it is taken to be lost: it may be
about to be queued again, and a file system shows its result late."""


class Attached(NamedTuple):
    """A job that goes on, and what it trains in turn: None is a run that is not asked for."""

    id: str
    runs: Sequence[Job | None]


class StackedSubmititMixin(StackedMixin):
    """One stack is one job. A job whose time is over is queued again, and its runs go on.

    Args:
        size, compile: as in `StackedMixin`.
        cluster: `slurm`, or `local` for processes of this machine.
        submitit_folder: for logs, and for what goes to the jobs and back; `%j` is a job's number.
        max_num_timeout: how often a job that ran out of time is queued again.
        parameters: submitit's, by their names in Hydra's own submitit launcher.
    """

    def __init__(
        self,
        submitit_folder: str,
        size: int = 50,
        compile: str | None = None,
        cluster: str = "slurm",
        max_num_timeout: int = 20,
        **parameters: Any,
    ) -> None:
        super().__init__(size, compile)
        if cluster not in CLUSTERS:
            raise ValueError(
                f"expected hydra.launcher.cluster to be one of {', '.join(CLUSTERS)}, got {cluster}"
            )
        self.cluster, self.detaches = cluster, cluster == "slurm"
        self.folder, self.max_num_timeout = Path(submitit_folder).absolute(), max_num_timeout
        self.parameters = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in parameters.items()
            if value is not None
        }

    @property
    def sweep(self) -> Path:
        assert self.config is not None
        return Path(str(self.config.hydra.sweep.dir))

    @property
    def logs(self) -> Path:
        """The folder in which each job has one."""
        return self.folder.parent if "%" in self.folder.name else self.folder

    def train_all(self, jobs: Sequence[Job]) -> dict[int, Outcome]:
        """Runs that a job of an earlier command has are waited for, not submitted again."""
        assert self.config is not None
        earlier = self.living(jobs) if self.cluster == "slurm" else []
        waited_for = {job.number for each in earlier for job in each.runs if job is not None}
        if earlier:
            ids = slurm.abbreviated(each.id for each in earlier)
            log.info("%s in SLURM jobs that go on: %s", plural(len(waited_for), "run"), ids)
        left = [job for job in jobs if job.number not in waited_for]
        outcomes = super().train_all(left) if left else {}
        if self.config.detach:
            self.detach()
            return {}
        for number, result in self.results(self.by_number(earlier)):
            outcomes |= outcomes_of(earlier[number].runs, result)
        return outcomes

    def execute(self, parts: Sequence[Part]) -> Generator[tuple[int, Result]]:
        assert self.config is not None
        if self.cluster == "local":
            yield from self.results({}, parts)
            return
        submitted = self.submit(parts)
        self.tell(submitted)
        if not self.config.detach:
            yield from self.results(self.by_number(submitted))

    def submit(self, parts: Sequence[Part]) -> list[Submission]:
        """As arrays, each as large as SLURM takes one; it begins when the one before has ended.

        Raises:
            ValueError: if SLURM does not take one. Those before it go on.
        """
        executor, largest = self.executor(), slurm.largest_array()
        submitted: list[Submission] = []
        for start in range(0, len(parts), largest):
            if submitted:
                before = submitted[-1].id.partition("_")[0]
                executor.update_parameters(slurm_dependency=f"afterany:{before}")
            array = parts[start : start + largest]
            new = [
                Submission(job.job_id, [each.overrides for each in part.jobs])
                for job, part in zip(submit_array(executor, array), array, strict=True)
            ]
            record_submissions(self.sweep, new)
            submitted += new
        return submitted

    def executor(self) -> Any:
        """Raises ValueError for a parameter that submitit does not have, or without SLURM."""
        import submitit

        if self.cluster == "slurm" and shutil.which("srun") is None:
            raise ValueError(
                "expected SLURM's commands on this machine, got no srun: launch where sbatch and "
                "srun are, or try it here by hydra.launcher.cluster=local"
            )
        settings = {"slurm_max_num_timeout": self.max_num_timeout} if self.detaches else {}
        parameters = {
            name if name in SHARED else f"slurm_{name}": value
            for name, value in self.parameters.items()
        }
        try:
            executor = submitit.AutoExecutor(self.folder, cluster=self.cluster, **settings)
            executor.update_parameters(**parameters)
        except (NameError, ValueError, AssertionError, RuntimeError) as error:
            raise ValueError(
                f"expected hydra.launcher to have parameters of submitit {submitit.__version__}, "
                f"got: {str(error).splitlines()[0]}"
            ) from error
        return executor

    def tell(self, submitted: Sequence[Submission]) -> None:
        sweep = os.path.relpath(self.sweep)
        ids = [each.id for each in submitted]
        watch = program.command("status", sweep, "--watch")
        log.info("SLURM jobs: %s", slurm.abbreviated(ids))
        log.info("  logs: %s", os.path.relpath(self.logs))
        log.info("  watch: %s", watch)
        log.info(
            "  end: scancel %s", " ".join(dict.fromkeys(each.partition("_")[0] for each in ids))
        )

    def living(self, jobs: Sequence[Job]) -> list[Attached]:
        """Jobs of earlier commands that have yet to end, with those of these runs they train.

        Raises:
            ValueError: if SLURM does not answer, or runs are to be replaced that such a job trains.
        """
        assert self.config is not None
        submitted = read_submissions(self.sweep)
        states = slurm.states() if submitted else {}
        if states is None:
            raise ValueError(
                "expected squeue to say which of the sweep's jobs go on, got no answer of SLURM's: "
                "try again once squeue --me answers"
            )
        watchers = watchers_of(self.config)
        left = {identifying(job.overrides, watchers): job for job in jobs}
        found = []
        for each in submitted:
            if slurm.is_living(states.get(each.id)):
                runs = [left.pop(identifying(run, watchers), None) for run in each.runs]
                found += [Attached(each.id, runs)] if any(runs) else []
        if found and self.config.overwrite:
            ids = slurm.abbreviated(each.id for each in found)
            raise ValueError(
                f"expected no job that trains these runs with overwrite=true, got SLURM's {ids}: "
                "wait for them, or end them by scancel"
            )
        return found

    def by_number(self, submitted: Sequence[Submission | Attached]) -> dict[int, Any]:
        import submitit

        return {
            number: submitit.SlurmJob(self.folder, each.id) for number, each in enumerate(submitted)
        }

    def results(
        self, running: dict[int, Any], waiting: Sequence[Part] = ()
    ) -> Generator[tuple[int, Result]]:
        """As jobs end; of parts that wait, a job begins for each core that is free."""
        from runlab.stacks import available_cores

        executor, left = (self.executor() if waiting else None), list(enumerate(waiting))
        watch = Watch()
        try:
            while running or left:
                while left and executor is not None and len(running) < available_cores():
                    number, part = left.pop(0)
                    part.cores = 1
                    running[number] = executor.submit(part)
                watch.look(list(running.values()))
                for number, job in list(running.items()):
                    if (result := watch.result(job)) is not None:
                        del running[number]
                        yield number, result
                time.sleep(EVERY)
        except BaseException as stop:
            self.leave(list(running.values()), stop)
            raise

    def leave(self, jobs: Sequence[Any], stop: BaseException) -> None:
        """What becomes of jobs that have yet to end when the command ends: SLURM's go on.

        But not where a run that failed is to stop the sweep, which closes this generator.
        """
        ids = [job.job_id for job in jobs]
        if self.cluster == "local":
            for job in jobs:
                job.cancel(check=False)
        elif isinstance(stop, GeneratorExit):
            slurm.cancel(ids)
        else:
            log.warning(
                "SLURM jobs that go on without this command: %s (the same command waits for them "
                "again, scancel ends them)", slurm.abbreviated(ids),
            )  # fmt: skip

    def detach(self) -> None:
        """Has the command end now, and leave the comparison to a later one."""
        assert self.config is not None
        SweepCallback.detached = True
        log.info("The jobs go on by themselves; the same command later compares their runs.")


class Watch:
    """Tells when jobs have ended, and how, by the files of their results and by what SLURM says."""

    def __init__(self) -> None:
        self.asked = 0.0
        self.states: dict[str, str] = {}
        self.ended: Counter[str] = Counter()  # how often in turn SLURM has said so

    def look(self, jobs: Sequence[Any]) -> None:
        """Asks SLURM for all of them, now and then."""
        if time.monotonic() < self.asked + EVERY_STATES or not any(map(is_of_slurm, jobs)):
            return
        self.asked = time.monotonic()
        if (states := slurm.states()) is None:
            return
        self.states = states
        for job in jobs:
            is_living = slurm.is_living(states.get(job.job_id))
            self.ended[job.job_id] = 0 if is_living else self.ended[job.job_id] + 1

    def result(self, job: Any) -> Result | None:
        """None as long as it has not ended, as far as that is certain."""
        if job.paths.result_pickle.exists():
            return read_result(job)
        is_lost = self.ended[job.job_id] >= CERTAIN if is_of_slurm(job) else job.done()
        if not is_lost or job.paths.result_pickle.exists():
            return None
        return lost(job, self.states.get(job.job_id, "its process has ended"))


def submit_array(executor: Any, parts: Sequence[Part]) -> list[Any]:
    """Raises ValueError with what sbatch says, where it takes none of them."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with redirect_stderr(io.StringIO()):  # where submitit prints it too
            return executor.submit_array(parts)
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"expected sbatch to take the sweep's jobs, got: {said}") from error


def is_of_slurm(job: Any) -> bool:
    import submitit

    return isinstance(job, submitit.SlurmJob)


def read_result(job: Any) -> Result:
    from submitit.core.utils import UncompletedJobError

    try:
        return job.results()[0]
    except UncompletedJobError as error:  # raised in the job, not by a run
        lines = [line for line in str(error).splitlines() if line.strip() and line.strip("-")]
        reasons = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Exit)\b", line)]
        return lost(job, (reasons or lines)[-1])


def lost(job: Any, reason: str) -> LostPartError:
    log_file = os.path.relpath(job.paths.stderr)
    return LostPartError(f"job {job.job_id} ended without a result: {reason} (log: {log_file})")
