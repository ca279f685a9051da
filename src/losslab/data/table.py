from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from runlab.data import Content, TensorData

if TYPE_CHECKING:
    from pandas import DataFrame

TASKS = ("auto", "classification", "regression")

OTHER_TASKS = {
    "classes": (
        ", or data.task=regression with module=regression, if the target is an amount and no class"
    ),
    "target columns": ", or data.task=classification, if the target's numbers are classes",
}
"""What else may be meant, by what was counted."""


class Table(TensorData):
    """A CSV file with a header: a sample a row, its inputs [features] of numbers.

    In a classification targets [samples] are whole numbers, the places of the values of `target`
    among the sorted ones; in a regression they are numbers [samples, 1], or a column for each of
    several.

    Args:
        root, file: it is `<root>/<file>`.
        target: the column to predict, or several for a regression.
        shape: [number of features].
        num_classes: outputs of the network: the classes or, in a regression, the target columns.
        features: the columns to predict by; None: all others.
        task: classification or regression; auto: a regression if the target holds fractions.
        standardize: whether each feature is made (x − mean) / standard deviation, by the statistics
            of the training samples alone.
        standardize_target: whether a regression's targets are, too: errors are then in standard
            deviations of the target.
        others: as of `TensorData`.

    Raises:
        ValueError: for columns that are not there, hold texts or lack values.
    """

    def __init__(
        self,
        root: str | Path,
        file: str,
        target: str | Sequence[str],
        shape: Sequence[int],
        num_classes: int,
        features: Sequence[str] | None = None,
        task: str = "auto",
        standardize: bool = True,
        standardize_target: bool = False,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        if task not in TASKS:
            raise ValueError(f"data.task: expected {', '.join(TASKS)}, got {task!r}")
        if task == "classification" and not isinstance(target, str):
            raise ValueError(f"data.target: expected one column of classes, got {list(target)}")
        self.file = Path(root).expanduser() / file
        self.target = [target] if isinstance(target, str) else list(target)
        self.shape = tuple(shape)
        self.num_classes = num_classes
        self.features = None if features is None else list(features)
        self.task = task
        self.standardize = standardize
        self.standardize_target = standardize_target
        self.classes: list[str] = []

    def read(self) -> Content:
        table = read_table(self.file)
        features = self.features
        if features is None:
            features = [str(name) for name in table.columns if name not in self.target]
            require_names(features, self.file)
        elif given := [name for name in features if name in self.target]:
            raise ValueError(f"expected data.features without data.target, got {given[0]} in both")
        require_columns(table, [*features, *self.target], self.file)
        inputs = numbers(table, features, self.file)
        self.check_size("shape", list(self.shape), [len(features)], "features")
        if not self.is_regression(table):
            codes, values = table[self.target[0]].factorize(sort=True)
            self.classes = [str(value) for value in values]
            self.check_size("num_classes", self.num_classes, len(values), "classes")
            return Content((inputs, torch.from_numpy(codes).long()))
        self.check_size("num_classes", self.num_classes, len(self.target), "target columns")
        return Content((inputs, numbers(table, self.target, self.file)))

    def is_regression(self, table: "DataFrame") -> bool:
        if self.task != "auto":
            return self.task == "regression"
        return len(self.target) > 1 or table[self.target[0]].dtype.kind == "f"

    def check_size(self, key: str, given: Any, found: Any, what: str) -> None:
        if given != found:
            other = OTHER_TASKS.get(what, "") if self.task == "auto" else ""
            raise ValueError(
                f"expected data.{key}={found}, the {what} of {self.file}, got {given}: set it"
                f"{other}"
            )

    def preprocess(self, content: Content, train: Int64[Tensor, " train"]) -> Content:
        inputs, targets = content.train
        inputs = standardized(inputs, train) if self.standardize else inputs.float()
        if targets.is_floating_point():
            targets = standardized(targets, train) if self.standardize_target else targets.float()
        return Content((inputs, targets))


def standardized(
    values: Float[Tensor, "samples columns"], train: Int64[Tensor, " train"]
) -> Float[Tensor, "samples columns"]:
    """Columns of mean 0 and standard deviation 1 over the training samples; constant ones of 0."""
    std, mean = torch.std_mean(values[train].double(), dim=0, correction=0)
    return ((values - mean) / torch.where(std > 0, std, 1.0)).float()


def read_table(path: Path) -> "DataFrame":
    import pandas  # which runs on other data need not wait for

    try:
        # with more values in a row than names, pandas would take the first ones for an index
        pandas.read_csv(path, header=None, nrows=2)
        table = pandas.read_csv(path, low_memory=False)  # in parts, 1 and "1" may be in one column
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"expected a CSV file in {path}, got: {reason}") from error
    if table.empty:
        raise ValueError(f"expected a row a sample in {path}, got a header alone: add the samples")
    return table


def require_names(names: Sequence[str], path: Path) -> None:
    if unnamed := [name for name in names if name.startswith("Unnamed: ")]:
        raise ValueError(
            f"expected a name for each column in {path}, got none for column "
            f"{int(unnamed[0].split()[1]) + 1}, which may number the rows: name or drop it, or "
            "choose by data.features"
        )


def require_columns(table: "DataFrame", names: Sequence[str], path: Path) -> None:
    if missing := [name for name in names if name not in table.columns]:
        raise ValueError(
            f"expected a column {missing[0]} in {path}, got {', '.join(map(str, table.columns))}"
        )
    if incomplete := [name for name in names if table[name].isna().any()]:
        row = (
            int(table[incomplete[0]].isna().argmax()) + 2
        )  # of the file, whose first is the header
        raise ValueError(
            f"expected a value in each row of {path}, got none for {incomplete[0]} in line {row}: "
            "fill it in, drop the row, or leave the column out by data.features"
        )


def numbers(
    table: "DataFrame", names: Sequence[str], path: Path
) -> Float[Tensor, "samples columns"]:
    if texts := [name for name in names if table[name].dtype.kind not in "iufb"]:
        value = table[texts[0]].iloc[0]
        raise ValueError(
            f"expected numbers in column {texts[0]} of {path}, got texts such as {value!r}: turn "
            "them into numbers, or leave the column out by data.features"
        )
    values = torch.tensor(table[list(names)].to_numpy(dtype="float64"))
    for name, column in zip(names, values.unbind(dim=1), strict=True):
        if not column.isfinite().all():
            raise ValueError(
                f"expected finite numbers in column {name} of {path}, got an infinite one: replace "
                "it, drop the row, or leave the column out by data.features"
            )
    return values
