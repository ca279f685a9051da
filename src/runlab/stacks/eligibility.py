"""Why a run is not stacked, as far as that shows without trying, and how runs form stacks."""

from itertools import pairwise

from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn

from runlab.stacks.step_request import StepRequest

STEP_HOOKS = (
    *("on_before_zero_grad", "on_before_backward", "on_after_backward"),
    "on_before_optimizer_step",
)
"""Lightning's hooks around a single step, which a stack does not call."""

FEWEST_PER_PROCESS = 5
"""A second process for fewer runs costs more at its start than it saves in ten epochs."""


def why_ineligible(request: StepRequest) -> str | None:
    """Why a run cannot be stacked; None if nothing shows: `check_equivalence` then tries it."""
    member, module = request.member, type(request.module)
    if not vars(module).get("stackable", False):
        return f"{module.__name__} may take its steps in a way of its own"
    if getattr(request.trainer.precision_plugin, "scaler", None) is not None:
        return "in 16-bit precision each run scales its loss by a number of its own"
    if len(member.optimizer.param_groups) != 1:
        return f"its optimizer has {len(member.optimizer.param_groups)} groups of parameters"
    if member.optimizer._optimizer_step_pre_hooks or member.optimizer._optimizer_step_post_hooks:
        return "its optimizer has hooks"
    for callback in request.trainer.callbacks:  # type: ignore[attr-defined]
        if hooks := [name for name in STEP_HOOKS if is_overridden(name, callback)]:
            return f"the callback {type(callback).__name__} has to be called at {hooks[0]}"
    hooked = [name for name, each in member.network.named_modules() if has_hooks(each)]
    return f"its network has hooks, at {hooked[0] or 'its root'}" if hooked else None


def has_hooks(module: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    of_parameters = any(p._backward_hooks for p in module.parameters(recurse=False))
    return of_parameters or any(getattr(module, kind) for kind in kinds)


def partition_runs(runs: int, size: int, processes: int) -> list[range]:
    """Divides runs, by their numbers, into stacks of at most `size`.

    The runs are divided evenly among the processes, as long as each process gets five of them.
    """
    number = max(min(processes, runs // FEWEST_PER_PROCESS), -(-runs // size), 1)
    return partition_evenly(runs, number)


def partition_evenly(runs: int, number: int) -> list[range]:
    """So many parts, whose sizes differ by at most one."""
    starts = [runs * each // number for each in range(number + 1)]
    return [range(start, end) for start, end in pairwise(starts)]
