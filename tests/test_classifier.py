import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from losslab.classifier import Classifier
from losslab.losses import CrossEntropy
from losslab.metrics import classification_metrics
from runlab.blocks.block import Block

STEPS, BATCH, PIXELS, CLASSES = 6, 8, 5, 10
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(STEPS * BATCH, PIXELS, generator=GENERATOR)
LABELS = torch.randint(0, CLASSES, (STEPS * BATCH,), generator=GENERATOR)


class Recorder(L.Callback):
    def on_validation_end(self, trainer, pl_module):
        self.metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        self.global_step = trainer.global_step


def classifier(**options) -> Classifier:
    torch.manual_seed(0)
    options = {"optimizer": lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9)} | options
    return Classifier(nn.Linear(PIXELS, CLASSES), CrossEntropy(), num_classes=CLASSES, **options)


def fit(module: Classifier, steps_at_once: int | None, **trainer_options) -> Recorder:
    """Trains for one epoch on the same batches, as ordinary ones or in blocks."""
    if steps_at_once is None:
        batches = [(i, y) for i, y in zip(IMAGES.split(BATCH), LABELS.split(BATCH), strict=True)]
    else:
        blocks = zip(
            IMAGES.unflatten(0, (STEPS, BATCH)).split(steps_at_once),
            LABELS.unflatten(0, (STEPS, BATCH)).split(steps_at_once),
            strict=True,
        )
        batches = [Block(*each) for each in blocks]
    recorder = Recorder()
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[recorder],
        log_every_n_steps=1,
        **trainer_options,
    )
    trainer.fit(
        module,
        DataLoader(batches, batch_size=None),
        DataLoader(TensorDataset(IMAGES, LABELS), batch_size=16),
    )
    return recorder


def weights(module: Classifier) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.network.parameters()])


def by_hand(scheduler=None, clip: float | None = None) -> torch.Tensor:
    torch.manual_seed(0)
    network = nn.Linear(PIXELS, CLASSES)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    schedule = scheduler(optimizer) if scheduler else None
    for images, labels in zip(IMAGES.split(BATCH), LABELS.split(BATCH), strict=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("steps_at_once", [None, 1, 4, 6])
def test_blocks_of_any_length_train_as_a_plain_loop_does(steps_at_once):
    module = classifier()
    recorder = fit(module, steps_at_once)
    assert torch.equal(weights(module), by_hand())
    assert recorder.global_step == STEPS


def test_scheduler_steps_once_an_optimizer_step():
    def cosine(optimizer):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)

    module = classifier(scheduler=cosine)
    fit(module, 4)
    assert torch.equal(weights(module), by_hand(scheduler=cosine))


def test_gradients_are_clipped_by_their_norm():
    module = classifier(gradient_clip=0.1)
    fit(module, 4)
    torch.testing.assert_close(weights(module), by_hand(clip=0.1))


def test_clipping_sees_gradients_without_the_loss_scale_of_16_bit_training():
    scaled = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    module = classifier(gradient_clip=0.1)
    fit(module, 6, plugins=[scaled])
    torch.testing.assert_close(weights(module), by_hand(clip=0.1), rtol=0.05, atol=0.02)


def test_gradient_clip_is_positive():
    with pytest.raises(ValueError, match="gradient_clip_val above 0 or null, got -1"):
        classifier(gradient_clip=-1)


def test_reduced_precision_sees_each_steps_new_weights():
    # a block is one autocast context: its cache of reduced-precision weights has to be off
    apart, together = classifier(), classifier()
    fit(apart, 1, precision="bf16-mixed")
    fit(together, 6, precision="bf16-mixed")
    assert torch.equal(weights(apart), weights(together))


def test_training_loss_is_the_mean_over_its_steps():
    module = classifier()
    expected = torch.stack(
        [
            nn.functional.cross_entropy(module(i), y)
            for i, y in zip(IMAGES.split(BATCH), LABELS.split(BATCH), strict=True)
        ]
    ).mean()
    frozen = classifier(optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    recorder = fit(frozen, 6)
    assert recorder.metrics["train/loss"] == pytest.approx(expected.item())
    assert recorder.metrics["train/learning_rate"] == 0.0
    assert recorder.global_step == STEPS


def test_metrics_agree_with_its_definitions():
    module = classifier()
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=13)  # the last one is shorter
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False,
                        enable_checkpointing=False, enable_model_summary=False)  # fmt: skip
    trainer.test(module, loader, verbose=False)
    measured = {name: float(value) for name, value in trainer.callback_metrics.items()}
    p = module(IMAGES).softmax(1).detach()
    truth = p[torch.arange(len(LABELS)), LABELS]
    one_hot = nn.functional.one_hot(LABELS, CLASSES)
    assert measured["test/accuracy"] == pytest.approx((p.argmax(1) == LABELS).float().mean().item())
    assert measured["test/nll"] == pytest.approx(-truth.log().mean().item(), rel=1e-5)
    assert measured["test/loss"] == pytest.approx(measured["test/nll"], rel=1e-5)
    assert measured["test/brier"] == pytest.approx(
        ((p - one_hot) ** 2).sum(1).mean().item(), rel=1e-5
    )
    assert measured["test/samples"] == len(LABELS)


def test_a_hand_computed_calibration_error():
    metrics = classification_metrics(num_classes=2)
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    metrics["ece"].update(probabilities, torch.tensor([0, 1, 1, 1]))
    # confidence 0.9, accuracy 0.5 for one half; confidence 0.6, accuracy 1.0 for the other
    assert metrics["ece"].compute().item() == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_nothing_hides_that_a_network_outputs_nan():
    module = classifier()
    with torch.no_grad():
        module.network.weight.fill_(float("nan"))
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False,
                        enable_checkpointing=False, enable_model_summary=False)  # fmt: skip
    trainer.test(module, DataLoader(TensorDataset(IMAGES, LABELS), batch_size=16), verbose=False)
    measured = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for name in ("loss", "nll", "brier", "ece"):
        assert measured[f"test/{name}"] != measured[f"test/{name}"]


class Reading(Classifier):
    def loss_step(self, batch, drawn):
        loss, outputs = super().loss_step(batch, drawn)
        return loss * (1 + self.trainer.current_epoch), outputs


class Logging(Classifier):
    def loss_step(self, batch, drawn):
        loss, outputs = super().loss_step(batch, drawn)
        self.log("mine", loss)
        return loss, outputs


class Showing(Classifier):
    def loss_step(self, batch, drawn):
        self.logger.log_metrics({"mine": 1.0})
        return super().loss_step(batch, drawn)


@pytest.mark.parametrize(
    ("kind", "what"),
    [(Reading, "self.trainer"), (Logging, "log"), (Showing, "self.logger")],
)
def test_a_loss_step_that_reads_the_trainer_or_logs_is_refused(kind, what):
    module = kind(nn.Linear(PIXELS, CLASSES), CrossEntropy(), sgd, num_classes=CLASSES)
    with pytest.raises(ValueError, match=rf"expected loss_step of {kind.__name__} .* got {what} "):
        fit(module, 4)


class Lonely(Classifier):
    def loss_step(self, batch, drawn):
        return super().loss_step(batch, drawn)[0]


class LonelyNumber(Classifier):
    def loss_step(self, batch, drawn):
        loss, outputs = super().loss_step(batch, drawn)
        return float(loss), outputs


class Summed(Classifier):
    """Its loss is right, its own use of it is not."""

    def loss_step(self, batch, drawn):
        loss, outputs = super().loss_step(batch, drawn)
        return len(batch[1]) * loss, outputs


class Twofold(Classifier):
    def configure_optimizers(self):
        return [sgd([each]) for each in self.network.parameters()]


class StepsAsLightning(Classifier):
    def training_step(self, batch, batch_index):
        return self.compute_loss(batch, None)[0]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Lonely, "expected loss_step of Lonely to return the loss and the outputs, got a Tensor"),
        (LonelyNumber, "loss_step of LonelyNumber to return the loss as a tensor, got a float"),
        (Summed, "expected a loss that is the mean over its batch, got one that is twice as large"),
        (Twofold, "expected one optimizer of Twofold, got 2: give one several groups"),
        (StepsAsLightning, "training_step of StepsAsLightning to take an optimizer step, got none"),
    ],
)
def test_a_step_that_could_not_be_right_is_refused_in_a_sentence(kind, told):
    module = kind(nn.Linear(PIXELS, CLASSES), CrossEntropy(), sgd, num_classes=CLASSES)
    with pytest.raises(ValueError, match=told):
        fit(module, None)


class Measures(Classifier):
    """Its validation is its own, without `evaluation_step`."""

    def validation_step(self, batch, batch_index):
        self.log("val/accuracy", 0.25)


def test_a_validation_of_its_own_is_not_hidden_by_an_empty_one():
    recorder = fit(
        Measures(nn.Linear(PIXELS, CLASSES), CrossEntropy(), sgd, num_classes=CLASSES), 6
    )
    assert recorder.metrics["val/accuracy"] == 0.25
    assert "val/loss" not in recorder.metrics


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.5)
