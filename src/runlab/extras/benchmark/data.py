"""The data of a benchmark: as tensors, as single images, and random ones in their place."""

import pkgutil
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch.utils.data import Dataset
from torchvision import transforms

from runlab.blocks.loader import Samples
from runlab.data import Content, TensorData


def tensor_data(cfg: DictConfig) -> Any:
    """The data module, set up for the bare loop, whichever loader the template itself is to use.

    Raises:
        ValueError: for data that the bare loop cannot normalize by hand.
    """
    tensors = {"loader": "tensor", "transform": None, "eval_transform": None, "num_workers": 0}
    data = instantiate(cfg.data, **tensors)
    if not all(isinstance(getattr(data, name, None), int | float) for name in ("mean", "std")):
        raise ValueError(
            "expected data of bytes with a mean and std, each one number of value / 255, since the "
            f"bare loop normalizes them by hand, got {cfg.data._target_}"
        )
    data.prepare_data()
    data.setup("fit")
    return data


class ImageDataset(Dataset[tuple[Any, int]]):
    """One image after another, as a torchvision data set gives them: from PIL, transformed.

    Raises:
        ValueError: if the inputs are not [samples, channels, height, width] of bytes.
    """

    def __init__(self, samples: Samples, mean: float, std: float) -> None:
        inputs, self.targets = samples
        if inputs.ndim != 4 or inputs.dtype != torch.uint8:
            raise ValueError(
                "expected images of bytes, [samples, channels, height, width], for Lightning with "
                f"a DataLoader, got {inputs.dtype} of shape {list(inputs.shape)}: leave it out, "
                "workers=[]"
            )
        self.images = inputs.movedim(1, -1).squeeze(-1)  # channels last, as PIL has them
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((mean,), (std,))]
        )

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, target = self.images[index], int(self.targets[index])
        return self.transform(Image.fromarray(image.numpy())), target


def use_random_samples(cfg: DictConfig) -> None:
    """Changes `cfg.data`, so that its samples are random.

    Raises:
        ValueError: as `random_settings`.
    """
    for key, value in random_settings(cfg).items():
        OmegaConf.update(cfg.data, key, value, force_add=True)


def random_settings(cfg: DictConfig) -> dict[str, Any]:
    """The settings of `cfg.data` that make its samples random.

    Raises:
        ValueError: if `cfg` does not say what a sample is like.
    """
    if cfg.input_shape is None or cfg.target_values is None:
        raise ValueError(
            "expected input_shape and target_values, which say what a random sample is like, got "
            f"{cfg.input_shape} and {cfg.target_values}"
        )
    data_class = cfg.data.get("data_class", cfg.data._target_)
    return {
        "_target_": f"{__name__}.random_data",
        "data_class": data_class,
        "input_shape": list(cfg.input_shape),
        "target_values": cfg.target_values,
    }


def random_data(
    data_class: str, input_shape: Sequence[int], target_values: int, **settings: Any
) -> TensorData:
    """That class of data module, but with random samples: it reads no file.

    Args:
        data_class: its importable name.
        input_shape: of one sample's input, which is bytes.
        target_values: a target is a whole number from 0 to one less.
        settings: of the class.
    """
    replaced = pkgutil.resolve_name(data_class)
    members = {"input_shape": tuple(input_shape), "target_values": target_values}
    return type(replaced.__name__, (RandomSamples, replaced), members)(**settings)


class RandomSamples(TensorData):
    """Goes before a class of data modules among the bases of a class."""

    input_shape: tuple[int, ...]
    target_values: int

    def prepare_data(self) -> None: ...

    def setup(self, stage: str | None = None) -> None:
        TensorData.setup(self, stage)  # the replaced class may look for its files

    def read(self) -> Content:
        if not (isinstance(self.train_size, int) and isinstance(self.val_size, int)):
            raise ValueError(
                "expected data.train_size and data.val_size as whole numbers, so many random "
                f"samples are made, got {self.train_size} and {self.val_size}"
            )
        sizes = self.train_size + self.val_size, self.target_values
        train, test = (random_samples(size, self.input_shape, self.target_values) for size in sizes)
        return Content(train, test)


@lru_cache(maxsize=2)
def random_samples(size: int, input_shape: tuple[int, ...], target_values: int) -> Samples:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (size, *input_shape), dtype=torch.uint8, generator=generator)
    return Samples(inputs, torch.randint(target_values, (size,), generator=generator))
