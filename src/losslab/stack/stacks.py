import logging
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from losslab.stack.block import Block, Taken
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
        self.draws: dict[Any, bool] = {}

    def compute(self, turns: Runs, check: Callable[[], None]) -> None:
        parts = defaultdict(list)
        for turn in turns:
            parts[self.key(turn)].append(turn)
        for part in parts.values():
            for start in range(0, len(part), self.size):
                runs = part[start : start + self.size]
                with runs[0].surroundings.entered():
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
            stacks = [self.stack(share) for share in self.shares(runs)]
        except ChangesMoreError as change:
            self.refuse(runs, str(change))
            return
        except torch.OutOfMemoryError:
            self.halve(runs, check)
            return
        try:
            taken = take_all(stacks, blocks, [each.rates for each in ahead], check)
        except Exception as error:
            self.leave(runs)
            for block in blocks:
                block.error = error
            return
        for stack in stacks:
            stack.publish()
        for block, foreseen, own in zip(blocks, ahead, taken, strict=True):
            foreseen.come_true(block.member.optimizer, block.scheduler)
            block.count()
            block.taken, block.shared = own, len(blocks)

    def reason(self, runs: Runs) -> str | None:
        """Why these runs cannot be computed together, found out once for each kind of run."""
        kind = self.kinds[runs[0]]
        if kind not in self.reasons:
            self.reasons[kind] = None
            reason, self.draws[kind] = kind[1], False
            if reason is None:
                reason, self.draws[kind] = rehearse([turn.asked for turn in runs])
            if reason is not None:
                self.refuse(runs, reason)
        return self.reasons[kind]

    def refuse(self, runs: Runs, reason: str) -> None:
        self.reasons[self.kinds[runs[0]]] = reason
        log.warning("not stacked, one run after another: %s", reason)
        self.leave(runs)

    def shares(self, runs: Runs) -> list[Runs]:
        """The runs, one share for each core; all in one where threads would share random draws."""
        on_cpu = runs[0].asked.images.device.type == "cpu"
        number = min(cores(), len(runs)) if on_cpu and not self.draws[self.kinds[runs[0]]] else 1
        size = -(-len(runs) // number)
        return [runs[start : start + size] for start in range(0, len(runs), size)]

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


def take_all(
    stacks: Sequence[Stack],
    blocks: Sequence[Block],
    rates: Sequence[Tensor],
    check: Callable[[], None],
) -> list[Taken]:
    """Takes the steps of all blocks, which are the stacks' in their order, a thread each.

    A thread for each core, with a share of the runs, beats one that divides each operation among
    the cores: small operations are not worth dividing, and meanwhile the other cores wait.
    """

    def take(stack: Stack, start: int) -> list[Taken]:
        torch.set_num_threads(cores() // len(stacks))
        own = slice(start, start + len(stack.members))
        images, labels = ([getattr(b, of) for b in blocks[own]] for of in ("images", "labels"))
        with blocks[0].trainer.precision_plugin.forward_context():
            return stack.take(images, labels, torch.stack([*rates[own]]), check)

    starts = accumulate((len(stack.members) for stack in stacks[:-1]), initial=0)
    with ThreadPoolExecutor(len(stacks)) as pool:
        return [each for share in pool.map(take, stacks, starts) for each in share]


def cores() -> int:
    """As many as this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
