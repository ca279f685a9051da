from typing import Any, NamedTuple

import lightning as L
from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from losslab.classifier import Classifier
from runlab.blocks.lazy_batch import at
from runlab.stacks.member import Member


class Taken(NamedTuple):
    """What a block of steps leaves: each step's loss, and the outputs on the last batch."""

    losses: Float[Tensor, " steps"]
    outputs: Float[Tensor, "batch classes"]


class Block:
    """One run's next steps, and once they are taken what came of them.

    Attributes:
        taken: None if the run has to take them itself.
        error: what computing them raised.
        shared: with how many runs they were computed, this one included.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Num[Tensor, "steps batch ..."],
        labels: Int[Tensor, "steps batch"],
    ) -> None:
        self.classifier, self.images, self.labels = classifier, images, labels
        self.taken: Taken | None = None
        self.error: Exception | None = None
        self.shared = 1

    def batch(self, step: int) -> tuple[Num[Tensor, "batch ..."], Int[Tensor, " batch"]]:
        """The images and labels of one step."""
        return at(self.images, step), self.labels[step]

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.classifier.hparams.get("config", {}))

    @property
    def threads(self) -> int:
        """Of an operation on the CPU."""
        return self.config.get("threads", 1)

    @property
    def trainer(self) -> L.Trainer:
        return self.classifier.trainer

    @property
    def member(self) -> Member:
        of = self.classifier
        optimizer: Any = of.optimizers()  # Lightning's wrapper
        make: Any = of.optimizer_factory
        return Member(of.prepared, of.network, of.loss, optimizer.optimizer, make, of.gradient_clip)

    @property
    def scheduler(self) -> LRScheduler | None:
        return self.classifier.lr_schedulers()  # type: ignore[return-value]

    def kind(self) -> tuple[Any, ...]:
        """Equal for runs that differ in numbers alone which need not be equal in a stack."""
        config = self.config
        optimizer = {**config.get("optimizer", {}), "lr": None}
        data = {**config.get("data", {}), "seed": None}
        parts = [data, *(config.get(key) for key in ("model", "loss", "gradient_clip", "threads"))]
        shapes = [(name, p.shape, p.dtype) for name, p in self.member.network.state_dict().items()]
        return repr(optimizer), repr(parts), repr(shapes), type(self.trainer.precision_plugin)

    def operations(self) -> tuple[Any, ...]:
        """Equal for blocks of one kind whose steps are the same operations on equal shapes."""
        images, member = self.images, self.member
        return images.shape[1:], images.dtype, images.device, tuple(member.trained), member.settings

    def moment(self) -> tuple[Any, ...]:
        """Equal for blocks of one kind and operations that can be computed together now."""
        member = self.member
        [group] = member.optimizer.param_groups
        # not what a schedule keeps there: its own rates
        settings = {key: group[key] for key in member.optimizer.defaults if key != "lr"}
        states = [sorted(member.optimizer.state.get(p, {})) for p in member.trained.values()]
        # Adam's correction depends on the number of steps before
        return len(self.labels), self.trainer.global_step, repr(settings), repr(states)

    def count(self) -> None:
        """Tells Lightning of optimizer steps that it did not see."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for each in (progress.total, progress.current):
            each.increment_by(len(self.labels))
