"""One stack's share of a sweep, as it travels to the process that trains it."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals

Outcome = JobReturn | Exception
"""Of a run: its own failure is in its JobReturn; an exception is Hydra's, or of what trained it."""


class Job(NamedTuple):
    """A run: its number in the sweep, from 0, and its overrides."""

    number: int
    overrides: Sequence[str]


class Stopped(NamedTuple):
    """A run that failed has stopped its stack, and is to stop the sweep (`fail_fast`)."""

    sentence: str


class LostPartError(ValueError):
    """What was to train a part has ended without a word; its runs go on with the same command."""


@dataclass
class Part:
    """Runs that may train together; called where they are trained.

    Attributes:
        train: a launcher's method, with which the launcher travels.
        state: of Hydra's singletons in the process that launches.
        cores: of the CPU to train on; None takes all that the process may use.
    """

    train: Callable[[Sequence[Job], int | None], list[Outcome]]
    jobs: Sequence[Job]
    state: Any
    cores: int | None = None

    def __call__(self) -> "list[Outcome] | Stopped":
        """What Hydra needs in a new process, then the training."""
        setup_globals()
        Singleton.set_state(self.state)
        try:
            outcomes = self.train(self.jobs, self.cores)
        except SystemExit as stop:
            if not isinstance(stop.code, str):  # a signal's number
                raise
            return Stopped(stop.code)
        except Exception as error:  # of all of them, such as a difference between two computations
            return [picklable(error) for _ in self.jobs]
        for outcome in outcomes:
            if isinstance(outcome, JobReturn) and outcome.status is JobStatus.FAILED:
                outcome._return_value = picklable(outcome._return_value)
        return [picklable(each) if isinstance(each, Exception) else each for each in outcomes]

    def checkpoint(self) -> Any:
        """What submitit puts into the queue again when the job's time is over: runs go on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def picklable(error: Exception) -> Exception:
    """As it can leave a process: pickle keeps no exception's cause, and some not at all."""
    from runlab.config.messages import is_user_error, user_message

    if is_user_error(error):
        return ValueError(user_message(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {user_message(error)}")
    return error
