"""Why a run cannot be computed together with others, as far as that shows without trying."""

from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn

from losslab.classifier import Classifier
from runlab.stacks.step_request import Block

AT_EACH_STEP = (
    *("on_before_zero_grad", "on_before_backward", "on_after_backward"),
    "on_before_optimizer_step",
)
"""Lightning's hooks around a single step, which a stack does not call."""


def obstacle(block: Block) -> str | None:
    """What is in the way; None if nothing is."""
    member = block.member
    if type(block.classifier) is not Classifier:
        return f"{type(block.classifier).__name__} may take its steps in a way of its own"
    if getattr(block.trainer.precision_plugin, "scaler", None) is not None:
        return "in 16-bit precision each run scales its loss by a number of its own"
    if len(member.optimizer.param_groups) != 1:
        return f"its optimizer has {len(member.optimizer.param_groups)} groups of parameters"
    if member.optimizer._optimizer_step_pre_hooks or member.optimizer._optimizer_step_post_hooks:
        return "its optimizer has hooks"
    for callback in block.trainer.callbacks:  # type: ignore[attr-defined]
        if hooks := [name for name in AT_EACH_STEP if is_overridden(name, callback)]:
            return f"the callback {type(callback).__name__} has to be called at {hooks[0]}"
    hooked = [name for name, module in member.network.named_modules() if has_hooks(module)]
    return f"its network has hooks, at {hooked[0] or 'its root'}" if hooked else None


def has_hooks(module: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    of_parameters = any(p._backward_hooks for p in module.parameters(recurse=False))
    return of_parameters or any(getattr(module, kind) for kind in kinds)
