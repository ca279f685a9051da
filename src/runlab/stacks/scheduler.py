"""Scheduler: computes the steps that runs wait for, those of several runs as one stack."""

import logging
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from runlab.memory import is_out_of_memory
from runlab.module import StackDifferenceError
from runlab.stacks.alone import Steps, copy_member
from runlab.stacks.attributes import find_other
from runlab.stacks.batches import stack_batches, stack_nests
from runlab.stacks.eligibility import partition_evenly, why_ineligible
from runlab.stacks.equivalence import (
    check_equivalence,
    first_line,
    preparation_key,
)
from runlab.stacks.nest import Nest
from runlab.stacks.process_state import rng_unchanged
from runlab.stacks.schedules import ScheduleError, precompute_lrs
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import StepRequest, StepResult
from runlab.stacks.tasks import Task
from runlab.stacks.trace import Operations, TracedOperations, trace_operations
from runlab.stacks.watch import SEED, require_same

log = logging.getLogger(__name__)

Runs = Sequence[Task[Any]]
ALONE = "not stacked, one run after another: "

WATCHED = 1 / 1000
"""Of the blocks of all runs, that part is also taken alone."""


class Scheduler:
    """Computes the blocks of steps that runs wait for, as many runs at once as possible.

    A block that cannot be computed is left to its run, which takes the steps as it would alone.
    Nothing of a run is changed before its whole block is computed.

    Args:
        size: the most runs at once.
        backend: of `torch.compile`, such as `inductor` or `cudagraphs`; None compiles nothing.
        threads: of the CPU to compute on; None takes one for each core.
    """

    def __init__(self, size: int, backend: str | None = None, threads: int | None = None) -> None:
        self.size, self.backend, self.threads = size, backend, threads or available_cores()
        self.structures: dict[Task[Any], Any] = {}
        self.reasons: dict[Any, str | None] = {}
        self.draws: dict[Any, bool] = {}
        self.traces: dict[Any, Operations] = {}
        self.warned: set[str] = set()
        self.watched: set[Any] = set()
        self.choice = random.Random(0)  # which blocks: the same in each sweep

    def compute(self, tasks: Runs, check: Callable[[], None]) -> None:
        stacks = defaultdict(list)
        for task in tasks:
            if (key := self.stack_key(task)) is not None:
                stacks[key].append(task)
        for (structure, operations, _), members in stacks.items():
            others = [o for of, o, _ in stacks if of == structure and o != operations]
            if len(members) == 1 and others:
                other = find_other(operations, others[0])
                self.warn_once(f"{ALONE}{other} is another than the other runs'")
            for start in range(0, len(members), self.size):
                runs = members[start : start + self.size]
                with runs[0].process_state.active(), threads(runs[0].request.threads):
                    self.compute_stack(runs, check)

    def stack_key(self, task: Task[Any]) -> tuple[Any, ...] | None:
        """Equal for runs whose requests may be computed at once; None for one that cannot be."""
        request: StepRequest = task.request
        try:
            reason = why_ineligible(request)
            if reason is None:
                if task not in self.structures:
                    self.structures[task] = request.structure_key(), preparation_key(request)
                return self.structures[task], request.operations_key, request.sync_key()
        except Exception as error:  # the run meets it too, if it is one
            reason = first_line(error)
        self.warn_once(ALONE + reason)
        return None

    def compute_stack(self, runs: Runs, check: Callable[[], None]) -> None:
        requests: list[StepRequest] = [task.request for task in runs]
        structure = self.structures[runs[0]]
        try:
            if len(runs) < 2 or self.reason_alone(structure, requests) is not None:
                return
            schedules = [
                precompute_lrs(each.member.optimizer, each.scheduler, each.due) for each in requests
            ]
            stacks = self.build_stacks(structure, requests)
            learning_rates = [each.learning_rates for each in schedules]
            results = take_all_steps(stacks, requests, learning_rates, check)
            for index in self.choose_watched(runs, stacks):
                rates = learning_rates[index]
                self.watch(structure, stacks, requests, rates, results, index)
        except StackDifferenceError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                reason = str(error) if isinstance(error, ScheduleError) else first_line(error)
                self.reasons[structure] = reason
                self.warn_once(ALONE + reason)
                return
            results, stacks = None, []  # what the error holds on to is freed first
        if results is None:
            self.halve(runs, check)
            return
        for stack in stacks:
            stack.write_back()
        for request, schedule, result in zip(requests, schedules, results, strict=True):
            schedule.apply(request.member.optimizer, request.scheduler)
            request.count_steps()
            request.result, request.runs = result, len(requests)

    def choose_watched(self, runs: Runs, stacks: Sequence[Stack]) -> list[int]:
        """Runs whose block is also taken alone: of a stack that is new one of each trace.

        Later any one, now and then. Not the first of a stack, by whose modules it may be traced.
        """
        request = runs[0].request
        key = request.operations_key, request.surroundings_key, *runs
        if key not in self.watched:
            self.watched.add(key)
            sizes = [len(stack.members) for stack in stacks]
            starts = dict(zip(sizes, accumulate(sizes, initial=0), strict=False))
            return [start + self.choice.randrange(size > 1, size) for size, start in starts.items()]
        if self.choice.random() < WATCHED * len(runs):
            return [self.choice.randrange(len(runs))]
        return []

    def watch(
        self,
        structure: Any,
        stacks: Sequence[Stack],
        requests: Sequence[StepRequest],
        learning_rates: Tensor,
        results: Sequence[StepResult],
        index: int,
    ) -> None:
        """Raises StackDifferenceError if that run's block is another one than the run's alone."""
        request, result, draws = requests[index], results[index], self.draws[structure]
        stack, place = [(s, i) for s in stacks for i in range(len(s.members))][index]
        if draws:  # on the random numbers that the run alone will get
            stack, place = Stack([copy_member(request.member)]), 0
            key = structure, request.operations_key, request.surroundings_key
            stack.operations = self.trace(key, Stack([requests[0].member]), requests[0])
            with rng_unchanged(request.device):
                torch.manual_seed(SEED)
                [result] = take_all_steps([stack], [request], [learning_rates], lambda: None)
        weights = [each.detach()[place].flatten() for each in stack.parameters.values()]
        buffers = {name: each[place] for name, each in stack.buffers.items()}
        stacked = Steps(result.losses, torch.cat(weights), buffers)
        require_same(request, learning_rates.tolist(), stacked, draws)

    def build_stacks(self, structure: Any, requests: Sequence[StepRequest]) -> list[Stack]:
        """Anew for each block: whatever has happened to the runs meanwhile is in them."""
        parts = self.partition(structure, requests)
        stacks = [Stack([request.member for request in part]) for part in parts]
        key = structure, requests[0].operations_key, requests[0].surroundings_key
        for stack in stacks:
            stack.operations = self.trace(key, stack, requests[0])
        return stacks

    def reason_alone(self, structure: Any, requests: Sequence[StepRequest]) -> str | None:
        """Why runs of a structure cannot be computed together, found out once."""
        if structure not in self.reasons:
            reason, self.draws[structure] = check_equivalence(requests)
            self.reasons[structure] = reason
            if reason is not None:
                self.warn_once(ALONE + reason)
        return self.reasons[structure]

    def trace(self, key: Any, stack: Stack, request: StepRequest) -> Operations:
        """The stack's steps as bare operations, traced once for each number of runs."""
        number = len(stack.members)
        if (key, number) not in self.traces:

            def gradients(*arguments: Any) -> Any:
                with request.trainer.precision_plugin.forward_context():
                    return stack.operations.gradients(*arguments)

            nest = stack_nests([request.first_nest] * number)
            with precision_of(request):
                found = trace_operations(gradients, *stack.tensors, nest, stack.groups)
                # CUDA graphs change no input
                descends = stack.only_descends and self.backend != "cudagraphs"
                if self.backend is not None:
                    found = self.compiled(found, self.backend, descends, stack, nest)
            descend = found.descend if descends else None
            self.traces[key, number] = Operations(found.gradients, descend)
        return self.traces[key, number]

    def compiled(
        self, found: TracedOperations, backend: str, descends: bool, stack: Stack, nest: Nest
    ) -> TracedOperations:
        """Compiled by that backend of `torch.compile`, or as they are if it cannot."""
        compiled = found.compiled(backend)
        copies = {name: each.clone() for name, each in stack.parameters.items()}
        tensors = copies, stack.fixed, stack.buffers, nest
        first, groups = next(iter(copies.values())), len(stack.optimizer.param_groups)
        rates = first.new_zeros(groups, len(first))
        try:
            with rng_unchanged(nest.tensors[0].device):
                compiled.gradients(*tensors)
                if descends:
                    compiled.descend(*tensors, rates)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self.warn_once(f"not compiled by {backend}: {first_line(error)}")
            return found
        return compiled

    def warn_once(self, sentence: str) -> None:
        if sentence not in self.warned:
            self.warned.add(sentence)
            log.warning("%s", sentence)

    def partition(
        self, structure: Any, requests: Sequence[StepRequest]
    ) -> list[Sequence[StepRequest]]:
        """One part for each thread; a single part where threads would share random draws."""
        on_cpu = requests[0].device.type == "cpu"
        threads = min(self.threads // requests[0].threads, len(requests))
        number = max(threads, 1) if on_cpu and not self.draws[structure] else 1
        return [[requests[i] for i in part] for part in partition_evenly(len(requests), number)]

    def halve(self, runs: Runs, check: Callable[[], None]) -> None:
        """Computes half as many runs at once, from here on."""
        self.size = max(len(runs) // 2, 1)
        log.warning("not enough memory for %d runs at once, %d from here on", len(runs), self.size)
        for start in range(0, len(runs), self.size):
            self.compute_stack(runs[start : start + self.size], check)


def take_all_steps(
    stacks: Sequence[Stack],
    requests: Sequence[StepRequest],
    learning_rates: Sequence[Tensor],
    check: Callable[[], None],
) -> list[StepResult]:
    """Takes the steps of all requests, which are the stacks' in their order, at the same time.

    One thread for each core, each with a part of the runs, is faster than dividing each operation
    among the cores: small operations are not worth dividing, and whenever one core is busy with
    something else, all would wait for it. So an operation has as many threads as in a run alone.
    """

    def take(stack: Stack, start: int) -> list[StepResult]:
        own = slice(start, start + len(stack.members))
        of_stack = torch.stack([*learning_rates[own]])  # [runs, steps, groups]
        with threads(requests[0].threads), precision_of(requests[0]):
            batches, accumulation = stack_batches(requests[own]), requests[0].accumulation
            return stack.take_steps(batches, of_stack, check, accumulation)

    if len(stacks) == 1:  # in this thread, to which CUDA graphs belong
        return take(stacks[0], 0)
    starts = accumulate((len(stack.members) for stack in stacks[:-1]), initial=0)
    # here too: the default dtype is the process's, and no thread may find another's left
    with precision_of(requests[0]), ThreadPoolExecutor(len(stacks)) as pool:
        return [each for part in pool.map(take, stacks, starts) for each in part]


@contextmanager
def precision_of(request: StepRequest) -> Iterator[None]:
    """The run's precision. Autocast is off: what it does is among the traced operations."""
    device = request.device.type
    with request.trainer.precision_plugin.forward_context(), torch.autocast(device, enabled=False):
        yield


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many for an operation of PyTorch."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_cores() -> int:
    """The number of cores that this process may use: a job of SLURM's has what it asked for."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    of_job = os.environ.get("SLURM_CPUS_PER_TASK", "") if "SLURM_JOB_ID" in os.environ else ""
    return min(cores, int(of_job)) if of_job.isdecimal() else cores
