"""The data module: what reaches training, by either loader, alone or under a real Trainer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torchvision import transforms

from losslab.data import MNIST, FashionMNIST
from runlab.blocks.sampler import EpochSampler
from tests.idx import write_idx

FEW_WORKERS = "ignore:The '.*_dataloader' does not have many workers"
Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_idx(root)
    write_idx(root, name="FashionMNIST")
    return root


def tiny(root: Path, **options: Any) -> MNIST:
    """170 training images in 17 batches of 10, blocks of 5 batches; 30 validation, 50 test."""
    defaults = dict(train_size=170, val_size=30, batch_size=10, eval_batch_size=20, verify=False)
    return MNIST(root, **(defaults | {"steps_per_execution": 5} | options))


def ready(root: Path, **options: Any) -> MNIST:
    data = tiny(root, **options)
    data.prepare_data()
    data.setup()
    return data


def flat(blocks: Batches) -> Batches:
    """Blocks of steps as single batches."""
    return [batch for images, labels in blocks for batch in zip(images, labels, strict=True)]


def expected(data: MNIST, epoch: int) -> list[list[int]]:
    sampler = EpochSampler(data.split.train, data.batch_size, data.seed)
    sampler.set_epoch(epoch)
    return data._train.targets[sampler.order()].view(-1, data.batch_size).tolist()


def test_train_loader_gives_blocks_of_whole_batches(root: Path) -> None:
    data = ready(root)
    loader = data.train_dataloader()
    blocks = list(loader)
    assert len(loader) == len(blocks) == 4
    assert [tuple(images.shape[:2]) for images, _ in blocks] == [(5, 10), (5, 10), (5, 10), (2, 10)]
    assert blocks[0][0].shape == (5, 10, 1, 28, 28)
    assert blocks[0][0].dtype == torch.uint8
    assert blocks[0][1].dtype == torch.int64
    assert data.steps_per_epoch == 17
    assert [labels.tolist() for _, labels in flat(blocks)] == expected(data, epoch=0)


def test_incomplete_batch_is_dropped(root: Path) -> None:
    data = ready(root, batch_size=64)
    assert data.steps_per_epoch == 2
    assert [tuple(labels.shape) for _, labels in data.train_dataloader()] == [(2, 64)]


def test_both_loaders_give_the_very_same_batches(root: Path) -> None:
    tensor, single = ready(root, seed=3), ready(root, seed=3, loader="dataloader")
    loaders = tensor.train_dataloader(), single.train_dataloader()
    for loader in loaders:
        loader.sampler.set_epoch(2)
    pairs = [(flat(list(loaders[0])), list(loaders[1]))]
    pairs += [(list(tensor.val_dataloader()), list(single.val_dataloader()))]
    pairs += [(list(tensor.test_dataloader()), list(single.test_dataloader()))]
    for fast, slow in pairs:
        assert len(fast) == len(slow) > 1
        for ours, theirs in zip(fast, slow, strict=True):
            assert torch.equal(ours[0], theirs[0])
            assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("loader", ["tensor", "dataloader"])
def test_loaders_leave_the_global_generator_alone(root: Path, loader: str) -> None:
    data = ready(root, loader=loader)
    state = torch.get_rng_state()
    for batches in (data.train_dataloader(), data.val_dataloader()):
        list(batches)
    assert torch.equal(torch.get_rng_state(), state)


def test_validation_and_test_are_complete_and_in_order(root: Path) -> None:
    data = ready(root)
    val, test = list(data.val_dataloader()), list(data.test_dataloader())
    assert [len(labels) for _, labels in val] == [20, 10]
    assert [len(labels) for _, labels in test] == [20, 20, 10]
    assert test[0][0].shape == (20, 1, 28, 28)
    assert torch.equal(torch.cat([images for images, _ in test]), data._test.inputs)
    assert torch.equal(torch.cat([labels for _, labels in test]), data._test.targets)


def test_no_validation_image_is_trained_on(root: Path) -> None:
    data = ready(root)
    train = torch.cat([images.flatten(0, 1) for images, _ in data.train_dataloader()])
    val = torch.cat([images for images, _ in data.val_dataloader()])
    seen = {image.numpy().tobytes() for image in train}
    kept = {image.numpy().tobytes() for image in val}
    assert len(seen) == 170
    assert len(kept) == 30
    assert not seen & kept


def test_split_does_not_depend_on_the_seed(root: Path) -> None:
    first, second = ready(root, seed=0), ready(root, seed=1)
    assert torch.equal(first.split.val, second.split.val)
    assert not torch.equal(first.split.val, ready(root, split_seed=1).split.val)


def test_normalise_is_the_formula(root: Path) -> None:
    data = tiny(root)
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    expected = (torch.tensor([0.0, 128 / 255, 1.0]) - 0.1307) / 0.3081
    assert torch.allclose(data.normalize(images).flatten(), expected)


def test_batches_of_uint8_images_are_normalised_after_transfer(root: Path) -> None:
    data = ready(root)
    images, labels = next(iter(data.val_dataloader()))
    normalised, same = data.on_after_batch_transfer((images, labels), 0)
    assert torch.equal(normalised, data.normalize(images))
    assert same is labels
    floats = torch.rand(len(labels), 1, 28, 28)
    assert data.on_after_batch_transfer((floats, labels), 0)[0] is floats
    block = next(iter(data.train_dataloader()))  # the step's to normalize
    assert data.on_after_batch_transfer(block, 0)[0] is block[0]


def test_transforms_see_pil_images(root: Path) -> None:
    shrink = transforms.Compose([transforms.Resize(14), transforms.ToTensor()])
    options = {"transform": shrink, "eval_transform": shrink, "shape": (1, 14, 14)}
    data = ready(root, loader="dataloader", **options)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        images, _ = next(iter(loader))
        assert images.shape[1:] == (1, 14, 14)
        assert images.dtype == torch.float32
    assert data.checksum == tiny(root).checksum


def test_fashion_mnist_is_mnist_with_its_own_numbers(root: Path) -> None:
    data = FashionMNIST(root, train_size=170, val_size=30, verify=False)
    data.setup()
    assert (data.name, data.mean, data.std) == ("FashionMNIST", 0.2860, 0.3530)
    assert data.classes[-1] == "Ankle boot"
    assert data.folder == root / "FashionMNIST" / "raw"


def test_classes_are_named_as_long_as_their_number_fits(root: Path) -> None:
    assert tiny(root).classes == [str(digit) for digit in range(10)]
    assert FashionMNIST(root, num_classes=3).classes == ["0", "1", "2"]


def test_the_checksum_is_of_what_is_trained_on(tmp_path: Path) -> None:
    write_idx(tmp_path)
    data, again = tiny(tmp_path), tiny(tmp_path)
    before, images = data.checksum, again.content.train.inputs.clone()
    write_idx(tmp_path, seed=1)
    data.setup()
    assert torch.equal(data._train.inputs, images)
    assert data.checksum == before
    assert tiny(tmp_path).checksum != before


# --- what a user may get wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"data.batch_size: expected a whole number of at least 1, got 0"),
        ({"batch_size": 171}, r"data.batch_size: expected at most 170, .*got 171"),
        ({"eval_batch_size": 0}, r"data.eval_batch_size: expected .* at least 1, got 0"),
        ({"steps_per_execution": 0}, r"data.steps_per_execution: expected .* at least 1, got 0"),
        ({"val_size": -1}, r"data.val_size: expected .* at least 0, got -1"),
        ({"train_size": -5}, r"data.train_size: expected .* at least 1, got -5"),
        ({"num_classes": 1}, r"data.num_classes: expected .* at least 2, got 1"),
        ({"seed": -1}, r"data.seed: expected .* at least 0, got -1"),
        ({"std": 0.0}, r"std above 0, got 0.1307 and 0.0"),
        ({"mean": float("nan")}, r"finite numbers.*got nan"),
        ({"loader": "tenser"}, r"data.loader: expected tensor or dataloader, got 'tenser'"),
        ({"transform": abs}, r"data.transform: expected none with data.loader=tensor.*dataloader"),
        ({"num_workers": 2}, r"data.num_workers: expected none with data.loader=tensor.* got 2"),
    ],
)
def test_wrong_arguments_fail_at_construction(
    root: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(root, **options)


def test_a_split_that_does_not_add_up_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"expected 200 = .*got 170 \+ 20 = 190"):
        ready(root, val_size=20)


def test_labels_above_the_number_of_classes_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"train-labels.*expected labels 0 to 4.*at index"):
        ready(root, num_classes=5)


def test_files_that_are_not_mnist_are_refused_unless_verify_is_off(root: Path) -> None:
    data = tiny(root, verify=True, download=False)
    with pytest.raises(ValueError, match=r"train-images.*expected MD5 6bbc9ace.*got"):
        data.prepare_data()
    with pytest.raises(ValueError, match=r"expected MD5 6bbc9ace.*data.verify=false"):
        data.setup()


@pytest.mark.parametrize(
    ("transform", "eval_transform", "message"),
    [
        (transforms.ToTensor(), None, r"one dtype.*got torch.float32 and torch.uint8"),
        (None, transforms.ToTensor(), r"one dtype.*got torch.uint8 and torch.float32"),
        (transforms.Resize(28), None, r"data.transform: expected a tensor of shape.*got Image"),
        (
            transforms.Compose([transforms.Resize(14), transforms.PILToTensor()]),
            None,
            r"data.transform: expected a tensor of shape \(1, 28, 28\).*got \(1, 14, 14\)",
        ),
    ],
)
def test_transforms_that_do_not_fit_are_refused(
    root: Path,
    transform: Callable[..., Any] | None,
    eval_transform: Callable[..., Any] | None,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        ready(root, loader="dataloader", transform=transform, eval_transform=eval_transform)


# --- under a real Trainer ----------------------------------------------------------------------


class Recorder(L.LightningModule):
    """Learns nothing; keeps the labels of every batch and what arrived as images."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.automatic_optimization = False
        self.seen: dict[int, list[list[int]]] = {}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        assert images.dtype == (torch.uint8 if labels.ndim == 2 else torch.float32)
        for step in labels.view(-1, labels.shape[-1]):
            self.optimizers().step()  # type: ignore[union-attr]
            self.seen.setdefault(self.current_epoch, []).append(step.tolist())

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        assert batch[0].dtype == torch.float32

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**options: Any) -> L.Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    return L.Trainer(
        accelerator="cpu",
        use_distributed_sampler=False,
        enable_model_summary=False,
        **(quiet | {"max_epochs": 2} | options),
    )


@pytest.mark.filterwarnings(FEW_WORKERS)
@pytest.mark.parametrize("loader", ["tensor", "dataloader"])
def test_lightning_trains_on_the_batches_of_the_pure_function(root: Path, loader: str) -> None:
    data, model = tiny(root, loader=loader, seed=1), Recorder()
    trainer().fit(model, data)
    assert model.seen == {0: expected(data, 0), 1: expected(data, 1)}


def test_a_resumed_run_goes_on_with_the_next_epoch(root: Path, tmp_path: Path) -> None:
    first = trainer(max_epochs=1)
    first.fit(Recorder(), tiny(root))
    first.save_checkpoint(tmp_path / "last.ckpt")
    data, model = tiny(root), Recorder()
    trainer().fit(model, data, ckpt_path=tmp_path / "last.ckpt")
    assert model.seen == {1: expected(data, 1)}


def test_a_run_cut_off_within_an_epoch_goes_on_with_the_next_block(
    root: Path, tmp_path: Path
) -> None:
    class Save(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.current_epoch == 1 and trainer.global_step == 17 + 10:
                trainer.save_checkpoint(tmp_path / "cut.ckpt")

    trainer(callbacks=[Save()]).fit(Recorder(), tiny(root))
    data, model = tiny(root), Recorder()
    trainer(max_epochs=3).fit(model, data, ckpt_path=tmp_path / "cut.ckpt")
    assert model.seen == {1: expected(data, 1)[10:], 2: expected(data, 2)}


def test_worker_processes_would_start_with_the_resumed_epoch(root: Path) -> None:
    data = tiny(root)
    fitted = trainer()
    fitted.fit(Recorder(), data)
    assert data.train_dataloader().sampler.epoch == fitted.current_epoch == 2


def test_overfitting_sees_the_same_batch_in_every_epoch(root: Path) -> None:
    data, model = tiny(root, steps_per_execution=1), Recorder()
    trainer(overfit_batches=1).fit(model, data)
    assert model.seen == {0: expected(data, 0)[:1], 1: expected(data, 0)[:1]}


class Rank:
    """As much of a Trainer as the data module asks for, in one of two processes."""

    def __init__(self, rank: int, world_size: int = 2) -> None:
        self.global_rank, self.world_size = rank, world_size
        self.current_epoch, self.overfit_batches = 0, 0
        self.strategy = type("Strategy", (), {"root_device": torch.device("cpu")})()


def on_rank(root: Path, rank: int, **options: Any) -> MNIST:
    data = tiny(root, **options)
    data.trainer = Rank(rank)  # type: ignore[assignment]
    data.setup()
    return data


@pytest.mark.parametrize("loader", ["tensor", "dataloader"])
def test_two_ranks_share_every_batch_and_every_evaluation(root: Path, loader: str) -> None:
    whole, ranks = ready(root), [on_rank(root, rank, loader=loader) for rank in (0, 1)]
    shares = [list(rank.train_dataloader()) for rank in ranks]
    if loader == "tensor":
        shares = [flat(share) for share in shares]
    assert [len(labels) for _, labels in shares[0]] == [5] * 17
    batches = flat(list(whole.train_dataloader()))
    for batch, first, second in zip(batches, *shares, strict=True):
        assert torch.equal(batch[0][0::2], first[0])
        assert torch.equal(batch[0][1::2], second[0])
    tests = [torch.cat([images for images, _ in rank.test_dataloader()]) for rank in ranks]
    assert torch.equal(tests[0], whole._test.inputs[0::2])
    assert torch.equal(tests[1], whole._test.inputs[1::2])


def test_a_batch_that_ranks_cannot_share_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"data.batch_size: expected a multiple of 2,.*got 17"):
        on_rank(root, 0, batch_size=17)


def test_worker_processes_give_the_same_batches(root: Path) -> None:
    alone, worker = ready(root, loader="dataloader"), ready(root, loader="dataloader")
    worker.num_workers = 1
    for ours, theirs in zip(alone.train_dataloader(), worker.train_dataloader(), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
