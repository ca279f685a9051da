"""Why a run is not stacked, as far as that shows without trying, and how runs form stacks."""

from itertools import pairwise

from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn, optim
from torch.nn.modules.module import _has_any_global_hook
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from runlab.module import Module
from runlab.stacks.attributes import declares_stackable, step_modules
from runlab.stacks.step_request import Member, StepRequest

OPTIMIZERS = (
    *(optim.SGD, optim.Adam, optim.AdamW, optim.Adamax, optim.NAdam, optim.RAdam),
    *(optim.RMSprop, optim.Adagrad, optim.Adadelta),
)
"""Whose step is linear in the learning rate, and changes each number by its own gradient alone."""

STEP_METHODS = (
    *("take_block", "take_steps", "take_step", "step_batches", "step_batch"),
    *("draws_before_steps", "prepare", "prepare_inputs", "compute_loss"),
    *("manual_backward", "backward", "optimizers", "lr_schedulers", "clip_gradients"),
    *("optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping"),
    *("lr_scheduler_step", "on_before_zero_grad", "on_before_backward", "on_after_backward"),
    "on_before_optimizer_step",
)
"""What of `Module` a stack does in its own way, so that a subclass may not do it in another."""

STEP_HOOKS = (
    *("on_before_zero_grad", "on_before_backward", "on_after_backward"),
    "on_before_optimizer_step",
)
"""Lightning's hooks around a single step, which a stack does not call."""

FEWEST_PER_PROCESS = 5
"""A second process for fewer runs costs more at its start than it saves in ten epochs."""


def why_ineligible(request: StepRequest) -> str | None:
    """Why a run cannot be stacked; None if nothing shows: `check_equivalence` then tries it."""
    module = request.module
    if own := [name for name in STEP_METHODS if is_own(module, name)]:
        return f"its {type(module).__name__} has a {own[0]} of its own, which a stack does not call"
    if module.gradient_clip is not None and module.gradient_clip_algorithm != "norm":
        return f"its gradients are clipped by {module.gradient_clip_algorithm}"
    member = request.member
    if getattr(request.trainer.precision_plugin, "scaler", None) is not None:
        return "in 16-bit precision each run scales its loss by a number of its own"
    for callback in request.trainer.callbacks:  # type: ignore[attr-defined]
        if hooks := [name for name in STEP_HOOKS if is_overridden(name, callback)]:
            return f"the callback {type(callback).__name__} has to be called at {hooks[0]}"
    if hooked := [name for name, each in step_modules(module) if has_hooks(each)]:
        return f"its {hooked[0] or type(module).__name__} has hooks"
    if _has_any_global_hook() or _global_optimizer_pre_hooks or _global_optimizer_post_hooks:
        return "there are hooks of all modules or optimizers"
    return why_optimizer_ineligible(member) or why_tensors_ineligible(member)


def is_own(module: Module, name: str) -> bool:
    return getattr(type(module), name) is not getattr(Module, name) or name in vars(module)


def has_hooks(module: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    own = module.parameters(recurse=False)
    of_parameters = any(p._backward_hooks or p._post_accumulate_grad_hooks for p in own)
    return of_parameters or any(getattr(module, kind) for kind in kinds)


def why_optimizer_ineligible(member: Member) -> str | None:
    optimizer = member.optimizer
    if type(optimizer) not in OPTIMIZERS and not declares_stackable(optimizer):
        return (
            f"its optimizer is a {type(optimizer).__name__}, whose step may be no multiple of the "
            "rate (`stackable = True` in its class says that it is, and that it depends on "
            "nothing but gradients, settings and state)"
        )
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return "its optimizer has hooks"
    grouped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if left := [name for name, p in member.trained.items() if id(p) not in grouped]:
        return (
            f"its {left[0]} is in no group of its optimizer, though it requires a gradient "
            "(requires_grad_(False) freezes it)"
        )
    if grouped - set(map(id, member.parameters.values())):
        return "its optimizer has parameters that are not its module's"
    if not member.trained:
        return "it has no parameter that requires a gradient"
    return None


def why_tensors_ineligible(member: Member) -> str | None:
    """A stack copies each tensor: what lies in one memory alone would be several in it."""
    places: dict[int, str] = {}
    for name, tensor in (member.parameters | member.buffers).items():
        first = places.setdefault(tensor.untyped_storage()._cdata, name)
        if first != name:
            return f"its {first} and {name} share their memory"
        strides = zip(tensor.stride(), tensor.shape, strict=True)
        if any(stride == 0 and size > 1 for stride, size in strides):
            return f"its {name} holds one number for several places (expand; clone() it)"
    return None


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
