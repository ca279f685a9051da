"""TensorData as one derives from it: tensors and a split are all that a subclass gives."""

from typing import Any

import lightning as L
import pytest
import torch
from torch import Generator, Tensor

from runlab.data import Content, TensorData
from runlab.data.content import shared


class Sine(TensorData):
    """The example of the documentation: a regression."""

    def read(self) -> Content:
        x = torch.linspace(-3, 3, 200).unsqueeze(1)  # [samples, 1]
        return Content((x, x.sin()))


class Given(TensorData):
    """Whatever a test has."""

    def __init__(self, content: Content, **options: Any) -> None:
        super().__init__(**({"batch_size": 10} | options))
        self.given = content

    def read(self) -> Content:
        return self.given


def ready(data: TensorData) -> TensorData:
    data.setup()
    return data


def sizes(data: TensorData) -> tuple[int, int, int]:
    return len(data.split.train), len(data.split.val), len(data.split.test)


def samples(count: int, *shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, *shape, generator=generator), torch.arange(count) % 4


def test_fifteen_lines_give_blocks_a_split_and_a_checksum():
    data = ready(Sine(test_size=0.25, batch_size=20, steps_per_execution=3))
    assert sizes(data) == (135, 15, 50)
    assert data.steps_per_epoch == 6
    blocks = list(data.train_dataloader())
    assert [tuple(targets.shape) for _, targets in blocks] == [(3, 20, 1), (3, 20, 1)]
    for inputs, targets in [(b[0].flatten(0, 1), b[1].flatten(0, 1)) for b in blocks]:
        assert torch.equal(inputs.sin(), targets)
    assert data.checksum == Sine(test_size=0.5).checksum
    assert data.checksum is not None
    assert len(data.checksum) == 16


@pytest.mark.parametrize("targets", [torch.rand(40, 3), torch.rand(40), torch.arange(40) % 2])
def test_targets_of_any_shape_and_type_come_alike_from_both_loaders(targets):
    content = Content((torch.rand(40, 2), targets))
    tensor, single = (
        ready(Given(content, test_size=10, loader=loader, steps_per_execution=1))
        for loader in ("tensor", "dataloader")
    )
    for ours, theirs in zip(tensor.train_dataloader(), single.train_dataloader(), strict=True):
        assert torch.equal(ours[1][0], theirs[1])
        assert ours[1].dtype == theirs[1].dtype == targets.dtype
    batch = single.on_after_batch_transfer(next(iter(single.test_dataloader())), 0)
    assert batch[1].shape == targets[:10].shape


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"val_size": 25}, (75, 25, 30)),
        ({"val_size": 0.25}, (75, 25, 30)),
        ({"val_size": 0}, (100, 0, 30)),
        ({"train_size": 80, "val_size": None}, (80, 20, 30)),
        ({"train_size": 0.8, "val_size": None}, (80, 20, 30)),
    ],
)
def test_a_size_is_a_number_a_share_or_the_rest(options, expected):
    assert sizes(Given(Content(samples(100, 2), samples(30, 2)), **options)) == expected


def test_without_test_samples_of_their_own_all_three_are_disjoint_and_stratified():
    data = Given(Content(samples(100, 2)), test_size=20, val_size=20)
    assert sizes(data) == (60, 20, 20)
    assert sorted(torch.cat(data.split).tolist()) == list(range(100))
    for indices in data.split:
        counts = torch.bincount(data.content.train[1][indices])
        assert counts.tolist() == [len(indices) // 4] * 4
    assert not torch.equal(
        data.split.test, Given(Content(samples(100, 2)), test_size=20, split_seed=1).split.test
    )


def test_all_runs_of_a_process_hold_one_memory():
    first, second = (ready(Sine(test_size=50, seed=seed)) for seed in (0, 1))
    places = {each.content.train[0].data_ptr() for each in (first, second)}
    assert len(places) == 1


def test_other_content_of_the_same_checksum_is_not_taken_for_it():
    cpu, (inputs, targets) = torch.device("cpu"), samples(20, 2)
    shared(Content((inputs, targets), checksum="mine"), cpu)
    other = shared(Content((inputs + 1, targets), checksum="mine"), cpu)
    assert torch.equal(other.train[0], inputs + 1)
    again = shared(Content((inputs + 1, targets), checksum="another"), cpu)
    assert again.train[0].data_ptr() == other.train[0].data_ptr()
    assert again.checksum == "another"


class Centred(Given):
    def preprocess(self, content: Content, train: Tensor) -> Content:
        inputs, targets = content.train
        return content._replace(train=(inputs - inputs[train].mean(dim=0), targets))


def test_what_each_split_made_of_the_same_data_is_its_own():
    content = Content(samples(100, 2), checksum="of a file")
    first, second = (ready(Centred(content, test_size=20, split_seed=seed)) for seed in (0, 1))
    for data in (first, second):
        means = data.content.train[0][data.split.train].mean(dim=0)
        torch.testing.assert_close(means, torch.zeros(2), atol=1e-6, rtol=0)
    assert first.checksum != second.checksum
    assert first.checksum == Centred(content, test_size=20).checksum
    assert Given(content, test_size=20).checksum == "of a file"


def test_validation_of_nothing_is_no_loader():
    data = ready(Given(Content(samples(100, 2), samples(30, 2)), val_size=0))
    assert data.val_dataloader() == []
    assert sum(len(targets[0]) for _, targets in data.train_dataloader()) > 0


def test_a_block_stays_bytes_and_one_batch_is_normalized():
    content = Content((torch.zeros(40, 2, dtype=torch.uint8), torch.rand(40, 3)))
    data = ready(Given(content, test_size=10))
    block = next(iter(data.train_dataloader()))
    assert data.on_after_batch_transfer(block, 0) is block
    batch = next(iter(data.test_dataloader()))
    assert data.on_after_batch_transfer(batch, 0)[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (Content(samples(20, 2)), {}, r"expected data.test_size, how many of 20 samples"),
        (Content(samples(20, 2)), {"test_size": 20}, r"expected data.test_size.*got 20"),
        (Content(samples(20, 2), samples(5, 2)), {"test_size": 3}, r"of their own, got 3"),
        (Content(samples(20, 2), samples(5, 3)), {}, r"shape \(2,\) as in training, got \(3,\)"),
        (Content(samples(20, 2), samples(5, 2)), {"val_size": 21}, "val_size below 20, .* got 21"),
        (Content((torch.rand(3, 2), torch.rand(2))), {}, r"3 inputs and 2 targets"),
        (Content(([1.0], torch.rand(1))), {}, r"in one tensor.*got a list"),  # type: ignore[arg-type]
        (Content(samples(9, 2), samples(5, 2)), {}, r"data.batch_size: expected at most 8"),
        (Content(samples(4, 2), samples(5, 2)), {"val_size": 0.1}, r"a sample of 4 for validation"),
    ],
)
def test_what_is_no_data_set_is_refused(content, options, message):
    with pytest.raises(ValueError, match=message):
        ready(Given(content, **options))


@pytest.mark.parametrize("available", [5, 6, 7, 15, 25, 100])
@pytest.mark.parametrize("val_size", [0.1, 0.15, 0.3])
def test_two_shares_that_add_up_to_one_are_all_samples(available, val_size):
    content = Content(samples(available, 2), samples(5, 2))
    split = Given(content, train_size=1 - val_size, val_size=val_size).split
    assert len(split.train) + len(split.val) == available
    assert len(split.train) == round((1 - val_size) * available)


@pytest.mark.parametrize("given", [None, samples(20, 2)])
def test_a_read_that_gives_no_content_is_named(given):
    class Unread(TensorData):
        def read(self):  # type: ignore[no-untyped-def]
            return given

    with pytest.raises(ValueError, match=r"Content from Unread.read, got a .*: write that method"):
        ready(Unread(test_size=0.1))


def test_a_split_needs_one_size():
    with pytest.raises(ValueError, match=r"data.train_size or data.val_size, got null for both"):
        Sine(train_size=None, val_size=None)


def test_whole_numbers_that_hardly_repeat_are_split_like_floats():
    """Each value's own share would round to nothing, and the lowest values would make it up."""
    data = Given(Content((torch.rand(100, 2), torch.arange(100))), test_size=0.2)
    assert data.split.test.float().mean() > 20


class Noisy(Sine):
    def augment(self, inputs: Tensor, generator: Generator) -> Tensor:
        return inputs + torch.rand(inputs.shape, generator=generator)


class SwitchedOff(Sine):
    augment = False  # type: ignore[assignment]


class Seen(L.LightningModule):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.training_inputs: list[Tensor] = []
        self.validation_inputs: list[Tensor] = []

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        self.training_inputs.append(batch[0].clone())
        return self.weight * 1

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self.validation_inputs.append(batch[0].clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
def test_training_batches_alone_are_augmented_each_by_its_own_draws():
    def fitted(kind: type[Sine], **options: Any) -> Seen:
        data = kind(test_size=50, batch_size=45, loader="dataloader", **options)
        module = Seen()
        quiet: dict[str, Any] = dict.fromkeys(
            ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        )
        L.Trainer(accelerator="cpu", max_epochs=2, num_sanity_val_steps=0, **quiet).fit(
            module, data
        )
        return module

    plain, first, again, other = fitted(Sine), fitted(Noisy), fitted(Noisy), fitted(Noisy, seed=1)
    drawn = [a - b for a, b in zip(first.training_inputs, plain.training_inputs, strict=True)]
    assert len(drawn) == 6
    assert all(0 < float(noise.mean()) < 1 for noise in drawn)
    assert len({noise.numpy().tobytes() for noise in drawn}) == 6
    assert torch.equal(torch.cat(first.training_inputs), torch.cat(again.training_inputs))
    assert not torch.equal(torch.cat(first.training_inputs), torch.cat(other.training_inputs))
    assert torch.equal(torch.cat(first.validation_inputs), torch.cat(plain.validation_inputs))
    off = fitted(SwitchedOff)
    assert torch.equal(torch.cat(off.training_inputs), torch.cat(plain.training_inputs))
