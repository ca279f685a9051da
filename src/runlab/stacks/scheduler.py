import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from runlab.stacks.eligibility import obstacle
from runlab.stacks.equivalence import first_batches, first_line, rehearse
from runlab.stacks.partition import evenly
from runlab.stacks.process_state import draws_undone
from runlab.stacks.schedules import ChangesMoreError, foresee
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import Block, Taken
from runlab.stacks.tasks import Turn
from runlab.stacks.trace import Named, Operations, Traced, traced

log = logging.getLogger(__name__)

Runs = Sequence[Turn[Any]]
Inputs = tuple[Named, Named, Tensor, Tensor]

ALONE = "not stacked, one run after another: "


class Stacks:
    """Computes what runs that take turns ask for: blocks of steps, as many runs at once as can be.

    A block that nothing comes of is left to its run, which takes the steps as it would alone.
    Nothing of a run is changed before its whole block is computed.

    Args:
        size: the most runs at once.
        backend: of `torch.compile`, such as `inductor` or `cudagraphs`; None: nothing is compiled.
        threads: of the CPU to compute on; None: one for each core.
    """

    def __init__(self, size: int, backend: str | None = None, threads: int | None = None) -> None:
        self.size, self.backend, self.threads = size, backend, threads or cores()
        self.kinds: dict[Turn[Any], Any] = {}
        self.reasons: dict[Any, str | None] = {}
        self.draws: dict[Any, bool] = {}
        self.traces: dict[Any, Operations] = {}
        self.said: set[str] = set()

    def compute(self, turns: Runs, check: Callable[[], None]) -> None:
        parts = defaultdict(list)
        for turn in turns:
            if (key := self.key(turn)) is not None:
                parts[key].append(turn)
        for (kind, operations, _), part in parts.items():
            others = {other for of, other, _ in parts if of == kind} - {operations}
            if len(part) == 1 and others:
                self.say(f"{ALONE}its modules hold other settings than the other runs'")
            for start in range(0, len(part), self.size):
                runs = part[start : start + self.size]
                with runs[0].surroundings.entered(), threads(runs[0].asked.threads):
                    self.compute_part(runs, check)

    def key(self, turn: Turn[Any]) -> tuple[Any, ...] | None:
        """Equal for runs whose blocks may be computed at once; None for one that cannot be."""
        block: Block = turn.asked
        try:
            reason = obstacle(block)
            if reason is None:
                if turn not in self.kinds:
                    self.kinds[turn] = block.kind()
                return self.kinds[turn], block.operations(), block.moment()
        except Exception as error:  # the run meets it too, if it is one
            reason = first_line(error)
        self.say(ALONE + reason)
        return None

    def compute_part(self, runs: Runs, check: Callable[[], None]) -> None:
        blocks: list[Block] = [turn.asked for turn in runs]
        kind = self.kinds[runs[0]]
        try:
            if len(runs) < 2 or self.reason(kind, blocks) is not None:
                return
            ahead = [foresee(b.member.optimizer, b.scheduler, len(b.labels)) for b in blocks]
            # anew for each block: whatever happened to the runs meanwhile is in it
            shares = self.shares(kind, blocks)
            stacks = [Stack([block.member for block in share]) for share in shares]
            rates = [each.rates for each in ahead]
            for stack in stacks:
                stack.operations = self.trace((kind, blocks[0].operations()), stack, blocks[0])
            taken = take_all(stacks, blocks, rates, check)
        except torch.OutOfMemoryError:
            taken, stacks = None, []  # what the error holds on to is freed first
        except Exception as error:
            reason = str(error) if isinstance(error, ChangesMoreError) else first_line(error)
            self.reasons[kind] = reason
            self.say(ALONE + reason)
            return
        if taken is None:
            self.halve(runs, check)
            return
        for stack in stacks:
            stack.publish()
        for block, foreseen, own in zip(blocks, ahead, taken, strict=True):
            foreseen.come_true(block.member.optimizer, block.scheduler)
            block.count()
            block.taken, block.shared = own, len(blocks)

    def reason(self, kind: Any, blocks: Sequence[Block]) -> str | None:
        """Why runs of a kind cannot be computed together, found out once."""
        if kind not in self.reasons:
            reason, self.draws[kind] = rehearse(blocks)
            self.reasons[kind] = reason
            if reason is not None:
                self.say(ALONE + reason)
        return self.reasons[kind]

    def trace(self, key: Any, stack: Stack, block: Block) -> Operations:
        """The stack's steps as bare operations, found once for each number of runs."""
        number = len(stack.members)
        if (key, number) not in self.traces:

            def gradients(*inputs: Any) -> Any:
                with block.trainer.precision_plugin.forward_context():
                    return stack.operations.gradients(*inputs)

            inputs = stack.parameters, stack.fixed, *first_batches([block] * number)
            with in_precision_of(block):
                found = traced(gradients, *inputs)
                # CUDA graphs change no input
                descends = stack.descends and self.backend != "cudagraphs"
                if self.backend is not None:
                    found = self.compiled(found, self.backend, descends, inputs)
            descend = found.descend if descends else None
            self.traces[key, number] = Operations(found.gradients, descend)
        return self.traces[key, number]

    def compiled(self, found: Traced, backend: str, descends: bool, inputs: Inputs) -> Traced:
        """If that backend of `torch.compile` can do it."""
        parameters, fixed, images, labels = inputs
        compiled = found.compiled(backend)
        copies = {name: each.clone() for name, each in parameters.items()}
        try:
            with draws_undone(images.device):
                _, (losses, _) = compiled.gradients(copies, fixed, images, labels)
                if descends:
                    compiled.descend(copies, fixed, images, labels, torch.zeros_like(losses))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self.say(f"not compiled by {backend}: {first_line(error)}")
            return found
        return compiled

    def say(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.add(sentence)
            log.warning("%s", sentence)

    def shares(self, kind: Any, blocks: Sequence[Block]) -> list[Sequence[Block]]:
        """One share for each thread; all in one where threads would share random draws."""
        on_cpu = blocks[0].images.device.type == "cpu"
        together = min(self.threads // blocks[0].threads, len(blocks))
        number = max(together, 1) if on_cpu and not self.draws[kind] else 1
        return [[blocks[i] for i in share] for share in evenly(len(blocks), number)]

    def halve(self, runs: Runs, check: Callable[[], None]) -> None:
        """Computes as many at once as there is memory for."""
        self.size = max(len(runs) // 2, 1)
        log.warning("not enough memory for %d runs at once, %d from here on", len(runs), self.size)
        for start in range(0, len(runs), self.size):
            self.compute_part(runs[start : start + self.size], check)


def take_all(
    stacks: Sequence[Stack],
    blocks: Sequence[Block],
    rates: Sequence[Tensor],
    check: Callable[[], None],
) -> list[Taken]:
    """Takes the steps of all blocks, which are the stacks' in their order, at the same time.

    A thread for each core, with a share of the runs, beats one that divides each operation among
    the cores: small operations are not worth dividing, and one core that is busy with something
    else then stops them all, time and again. So an operation has as many as in a run alone.
    """

    def take(stack: Stack, start: int) -> list[Taken]:
        own = slice(start, start + len(stack.members))
        images, labels = ([getattr(b, of) for b in blocks[own]] for of in ("images", "labels"))
        with threads(blocks[0].threads), in_precision_of(blocks[0]):
            return stack.take(images, labels, torch.stack([*rates[own]]), check)

    if len(stacks) == 1:  # in this thread, to which CUDA graphs belong
        return take(stacks[0], 0)
    starts = accumulate((len(stack.members) for stack in stacks[:-1]), initial=0)
    with ThreadPoolExecutor(len(stacks)) as pool:
        return [each for share in pool.map(take, stacks, starts) for each in share]


@contextmanager
def in_precision_of(block: Block) -> Iterator[None]:
    """As the run takes its steps, but that what autocast does is among the traced operations."""
    device = block.images.device.type
    with block.trainer.precision_plugin.forward_context(), torch.autocast(device, enabled=False):
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


def cores() -> int:
    """As many as this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
