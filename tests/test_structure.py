"""Which room may know which: losslab modules may be imported only by those that are listed here."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "losslab"
SELF_CONTAINED = {
    "models",
    "losses",
    "rows",
    "schedulers",
    "atomic",
    "paths",
    "points",
    "stopping",
    "text",
    "tracking",
}
MAY_IMPORT = {room: set() for room in SELF_CONTAINED} | {
    "callbacks": {"atomic", "text"},
    "checkpoint": {"atomic", "classifier"},
    "claim": {"record"},
    "classifier": {"points"},
    "comparison": {"atomic", "record", "text"},
    "config": {"record", "text"},
    "dashboard": {"atomic", "comparison", "record", "text"},
    "data": {"rows"},
    "description": {"record", "text"},
    "errors": {"config"},
    "evaluation": {"checkpoint", "classifier", "paths"},
    "landscape": {
        "atomic",
        "checkpoint",
        "comparison",
        "config",
        "evaluation",
        "record",
        "reproduction",
        "train",
    },
    "objective": {"classifier", "config", "train"},
    "prediction": {"checkpoint", "paths"},
    "record": {"atomic"},
    "reproduction": {"evaluation", "record", "text", "train"},
    "resume": {"atomic", "record"},
    "session": {"description"},
    "stack": {"classifier", "errors", "rows"},
    "status": {"claim", "record", "text"},
    "train": {
        "atomic",
        "checkpoint",
        "claim",
        "classifier",
        "config",
        "errors",
        "record",
        "resume",
        "session",
        "stack",
    },
}
COMPONENTS_OUTSIDE = {
    *("torch", "torchvision", "lightning", "torchmetrics", "jaxtyping", "numpy", "PIL", "tqdm"),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_the_rooms_it_may_know(path):
    known = {name.split(".")[1] for name in imports(path) if name.startswith("losslab.")}
    if room(path) in MAY_IMPORT:
        assert known - {room(path)} <= MAY_IMPORT[room(path)]


@pytest.mark.parametrize("name", ["models", "losses", "callbacks"])
def test_components_depend_on_little(name):
    import sys

    for path in (PACKAGE / name).glob("*.py"):
        outside = {module.split(".")[0] for module in imports(path)} - {"losslab"}
        assert outside - sys.stdlib_module_names <= COMPONENTS_OUTSIDE


def test_only_the_configuration_names_concrete_components():
    for path in FILES:
        if room(path) not in ("models", "losses", "data", "callbacks"):
            named = {".".join(name.split(".")[:2]) for name in imports(path)}
            assert not named & {
                f"losslab.{r}" for r in ("models", "losses", "data", "callbacks")
            }, path
