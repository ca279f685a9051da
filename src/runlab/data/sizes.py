"""How many samples are for training, validation and test, and what a user may get wrong there."""

from math import isclose
from typing import Any

from runlab.config.kinds import is_whole

Size = int | float | None
"""A number of samples, a share of them between 0 and 1, or None: what the others leave."""

LOADERS = ("tensor", "dataloader")


def split_sizes(train: Size, val: Size, available: int) -> tuple[int, int]:
    """How many of the samples that are not for test are for training and for validation.

    Raises:
        ValueError: unless both add up to all of them, with one for training at least, and for
            validation if a share of them is.
    """
    is_wanted = is_share(val)
    if is_wanted and is_share(train) and isclose(train + val, 1):  # type: ignore[operator]
        val = None  # rounded by themselves they may not add up
    if train is None:
        sizes = available - (found := count(val, available)), found
    else:
        found = count(train, available)
        sizes = found, available - found if val is None else count(val, available)
    if train is None and sizes[0] < 1:
        raise ValueError(
            f"expected data.val_size below {available:,}, so that samples are left for training, "
            f"got {val}: lower it"
        )
    if sum(sizes) != available or sizes[0] < 1 or sizes[1] < 0:
        raise ValueError(
            f"expected {available:,} = data.train_size + data.val_size, got {sizes[0]:,} + "
            f"{sizes[1]:,} = {sum(sizes):,}; set both, or one of them to null for the rest"
        )
    if is_wanted and sizes[1] == 0:
        raise ValueError(
            f"expected data.val_size to leave a sample of {available:,} for validation, got none: "
            "set it higher, or to 0 to train on all of them and test the last weights"
        )
    return sizes


def count(size: Size, of: int) -> int:
    return round(size * of) if isinstance(size, float) else int(size or 0)


def split_off_test(size: Size, available: int) -> int:
    """How many of all samples are for test, where the data have none of their own."""
    if size is None or not 0 < count(size, available) < available:
        raise ValueError(
            f"expected data.test_size, how many of {available:,} samples (or what share of them) "
            f"are for test, as the data have no test samples of their own, got {size}"
        )
    return count(size, available)


def check_sizes(train: Size, val: Size, test: Size) -> None:
    for name, size, least in (("train", train, 1), ("val", val, 0), ("test", test, 1)):
        if size is not None and not is_share(size):
            check_at_least(least, **{f"{name}_size": size})
    if train is None and val is None:
        raise ValueError(
            "expected data.train_size or data.val_size, got null for both: val_size=0.1 takes a "
            "tenth of the training samples, val_size=0 none"
        )


def is_share(size: Any) -> bool:
    return isinstance(size, float) and 0 < size < 1


def check_at_least(least: int, **settings: Any) -> None:
    for name, value in settings.items():
        if not is_whole(value) or value < least:
            raise ValueError(
                f"data.{name}: expected a whole number of at least {least}, got {value!r}"
            )


def check_batch_size(batch_size: int, train_size: int) -> None:
    if batch_size > train_size:
        raise ValueError(
            f"data.batch_size: expected at most {train_size:,}, the number of training samples "
            f"(data.train_size), got {batch_size:,}; lower it"
        )


def check_loader(loader: str, **per_sample: object) -> None:
    """`per_sample`: settings that only the loader of single samples can heed."""
    if loader not in LOADERS:
        raise ValueError(f"data.loader: expected {' or '.join(LOADERS)}, got {loader!r}")
    for name, value in per_sample.items():
        if loader == "tensor" and value not in (None, 0):
            raise ValueError(
                f"data.{name}: expected none with data.loader=tensor, which handles no sample by "
                f"itself, got {value}; set data.loader=dataloader"
            )


def check_shards(batch_size: int, world_size: int) -> None:
    if batch_size % world_size != 0:
        raise ValueError(
            f"data.batch_size: expected a multiple of {world_size}, the number of devices that "
            f"share each batch, got {batch_size}; change it or the number of devices"
        )
