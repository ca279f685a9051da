import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from losslab.stack.block import Block
from losslab.stack.foresight import ChangesMoreError, foresee
from losslab.stack.obstacles import obstacle
from losslab.stack.rehearsal import rehearse
from losslab.stack.stack import Stack
from losslab.stack.turns import Turn

log = logging.getLogger(__name__)

Runs = Sequence[Turn[Any]]


class Stacks:
    """Computes what runs that take turns ask for: blocks of steps, as many runs at once as can be.

    A block that nothing comes of is left to its run, which takes the steps as it would alone.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.stack_of: dict[Turn[Any], Stack] = {}
        self.kinds: dict[Turn[Any], Any] = {}
        self.reasons: dict[Any, str | None] = {}

    def compute(self, turns: Runs, check: Callable[[], None]) -> None:
        parts = defaultdict(list)
        for turn in turns:
            parts[self.key(turn)].append(turn)
        for part in parts.values():
            for start in range(0, len(part), self.size):
                runs = part[start : start + self.size]
                with runs[0].surroundings.entered(), all_cores():
                    self.compute_part(runs, check)

    def key(self, turn: Turn[Any]) -> tuple[Any, ...]:
        """Equal for runs whose blocks can be computed at once, as far as that is known."""
        block: Block = turn.asked
        if turn not in self.kinds:
            self.kinds[turn] = block.kind(), obstacle(block)
        return self.kinds[turn], block.moment()

    def compute_part(self, runs: Runs, check: Callable[[], None]) -> None:
        blocks: list[Block] = [turn.asked for turn in runs]
        try:
            if len(runs) < 2 or self.reason(runs) is not None:
                self.leave(runs)
                return
            ahead = [foresee(b.member.optimizer, b.scheduler, len(b.labels)) for b in blocks]
            stack = self.stack(runs)
        except ChangesMoreError as change:
            self.refuse(runs, str(change))
            return
        except torch.OutOfMemoryError:
            self.halve(runs, check)
            return
        try:
            with blocks[0].trainer.precision_plugin.forward_context():
                rates = torch.stack([each.rates for each in ahead])  # [runs, steps]
                taken = stack.take(
                    [b.images for b in blocks], [b.labels for b in blocks], rates, check
                )
        except Exception as error:
            self.leave(runs)
            for block in blocks:
                block.error = error
            return
        for index, (block, foreseen) in enumerate(zip(blocks, ahead, strict=True)):
            stack.publish(index)
            foreseen.come_true(block.member.optimizer, block.scheduler)
            block.count()
            block.taken, block.shared = taken[index], len(blocks)

    def reason(self, runs: Runs) -> str | None:
        """Why these runs cannot be computed together, found out once for each kind of run."""
        kind = self.kinds[runs[0]]
        if kind not in self.reasons:
            self.reasons[kind] = None
            if reason := kind[1] or rehearse([turn.asked for turn in runs]):
                self.refuse(runs, reason)
        return self.reasons[kind]

    def refuse(self, runs: Runs, reason: str) -> None:
        self.reasons[self.kinds[runs[0]]] = reason
        log.warning("not stacked, one run after another: %s", reason)
        self.leave(runs)

    def stack(self, runs: Runs) -> Stack:
        """The stack of exactly these runs, made anew if the last block was not theirs."""
        stack = self.stack_of.get(runs[0])
        together = [turn for turn, of in self.stack_of.items() if of is stack]
        if stack is None or together != list(runs):
            stack = Stack([turn.asked.member for turn in runs])
            self.leave(runs)
            self.stack_of |= dict.fromkeys(runs, stack)
        return stack

    def leave(self, runs: Runs) -> None:
        """Leaves the runs their own: whatever they do next, no stack is up to date with it."""
        for turn in runs:
            self.stack_of.pop(turn, None)

    def halve(self, runs: Runs, check: Callable[[], None]) -> None:
        """Computes as many at once as there is memory for."""
        self.leave(runs)
        self.reasons.pop(self.kinds[runs[0]], None)
        self.size = len(runs) // 2
        log.warning("not enough memory for %d runs at once, %d from here on", len(runs), self.size)
        for start in range(0, len(runs), self.size):
            self.compute_part(runs[start : start + self.size], check)


@contextmanager
def all_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """As many as this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
