"""The house: a template in front, an engine behind, and which room may know which.

Each rule is checked on the text of the source files, imports inside functions and for type checkers
included; two of them also in a new process, by what is loaded.
"""

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from tests.compose import ROOT

SRC = ROOT / "src"
FRONT, ENGINE, PLUGINS = (SRC / name for name in ("losslab", "runlab", "hydra_plugins"))
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for package in (FRONT, ENGINE, PLUGINS)
    for path in sorted(package.rglob("*.py"))
}
EXTRAS = sorted(
    path.stem for path in (ENGINE / "extras").iterdir() if not path.stem.startswith("__")
)
CORE = [
    *(
        "api",
        "console",
        "train",
        "logged",
        "module",
        "data",
        "components",
        "optimizers",
        "schedules",
        "losses",
        "pretrained",
        "measure",
        "memory",
        "program",
        "requirements",
        "blocks",
        "runs",
        "config",
        "sweeps",
    ),
    *("stacks", "launchers", "analysis", "loggers", "callbacks", "cli", "text", "atomic"),
]
COMPONENTS_OUTSIDE = {
    *("torch", "torchvision", "lightning", "torchmetrics", "jaxtyping", "numpy"),
    *("pandas", "PIL", "sklearn"),
}
ALWAYS = (
    r"accurac|softmax|probabilities|confusion|num_class|mnist|\bnll\b|brier|\bece\b|cross_entropy"
)
WHERE_NOTHING_IS_DRAWN = rf"{ALWAYS}|\blabels\b|\bimages?\b"
"""A plot has labels, and an image is what a logger shows."""


def imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            if name:
                yield name


IMPORTS = {name: set(imports(path)) - {name} for name, path in MODULES.items()}


def room(name: str) -> str:
    """`runlab.stacks` of `runlab.stacks.trace`, `runlab.extras.<room>` of what is in one."""
    return ".".join(name.split(".")[: 3 if name.startswith("runlab.extras.") else 2])


def test_the_configuration_is_checked_without_what_runs_wrote():
    for name, imported in IMPORTS.items():
        if name.startswith("runlab.config"):
            assert not [each for each in imported if each.startswith("runlab.runs")], name


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected parts of more than one node."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(graph.get(name, ()))
        reached[start] = seen
    found = {
        tuple(sorted(other for other in reached[name] if name in reached.get(other, ())))
        for name in graph
        if name in reached[name]
    }
    return [list(circle) for circle in sorted(found)]


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]


def test_no_files_import_each_other_in_a_circle():
    assert circles(IMPORTS) == []


def test_the_engine_never_imports_the_template_or_a_plugin():
    for name, imported in IMPORTS.items():
        if name.startswith("runlab"):
            assert not [each for each in imported if not each.startswith("runlab")], name


def test_every_room_of_the_engine_is_under_these_rules():
    there = {room(name).split(".")[1] for name in MODULES if name.startswith("runlab.")}
    assert there == {*CORE, "extras"}


def test_the_core_imports_no_extra_and_no_extra_another():
    for name, imported in IMPORTS.items():
        extras = {room(each) for each in imported if each.startswith("runlab.extras.")}
        if name.startswith("runlab.") and not name.startswith("runlab.extras"):
            assert not extras, name
        elif name.startswith("runlab.extras."):
            assert extras <= {room(name)}, name


def test_the_analysis_imports_nothing_that_trains():
    may = (
        "analysis",
        "console",
        "atomic",
        "text",
        "measure",
        "memory",
        "program",
        "runs.alike",
        "runs.record",
        "runs.alike",
        "runs.lock",
        "config.axes",
        "config.fingerprint",
        "config.targets",
        "config.weights",
    )
    for name, imported in IMPORTS.items():
        if name.startswith("runlab.analysis"):
            known = [f"runlab.{each}" for each in may]
            assert not [e for e in imported if not e.startswith(tuple(known)) and e != "runlab.runs"
                        and e != "runlab.config"], name  # fmt: skip
            assert "import torch" not in MODULES[name].read_text(), name


@pytest.mark.parametrize("part", CORE)
def test_the_core_speaks_of_no_classification(part):
    """Identifiers, texts and comments; `class` itself is Python's word."""
    words = ALWAYS if part in ("analysis", "callbacks") else WHERE_NOTHING_IS_DRAWN
    paths = [path for name, path in MODULES.items() if room(name) == f"runlab.{part}"]
    assert paths
    assert [each for path in paths for each in spoken(path, re.compile(words, re.I))] == []


def spoken(path: Path, words: re.Pattern[str]) -> list[str]:
    tokens = tokenize.generate_tokens(StringIO(path.read_text()).readline)
    kinds = {tokenize.NAME, tokenize.STRING, tokenize.COMMENT}
    return [
        f"{path}:{token.start[0]}: {found.group()}"
        for token in tokens
        if token.type in kinds and (found := words.search(token.string))
    ]


def test_a_word_of_classification_would_be_found(tmp_path):
    (tmp_path / "room.py").write_text("batch = 1  # of images\n")
    words = re.compile(WHERE_NOTHING_IS_DRAWN, re.I)
    assert [each.split(": ")[1] for each in spoken(tmp_path / "room.py", words)] == ["images"]


def test_the_template_is_read_in_an_hour():
    lines = sum(len(path.read_text().splitlines()) for path in FRONT.rglob("*.py"))
    assert lines <= 2_000


@pytest.mark.parametrize("kind", ["models", "losses", "data", "callbacks"])
def test_a_component_imports_no_other_kind_and_little_else(kind):
    for name, imported in IMPORTS.items():
        if name.startswith(f"losslab.{kind}"):
            siblings = [each for each in imported if each.startswith("losslab.")]
            assert all(each.startswith(f"losslab.{kind}") for each in siblings), name
            packages = {
                each.split(".")[0]
                for node in ast.walk(ast.parse(MODULES[name].read_text()))
                for each in (
                    [a.name for a in node.names] if isinstance(node, ast.Import)
                    else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                )
            }  # fmt: skip
            outside = packages - {"losslab", "runlab"} - sys.stdlib_module_names
            assert outside <= COMPONENTS_OUTSIDE, name


def test_only_the_configuration_names_components_of_the_template():
    kinds = ("models", "losses", "data", "callbacks")
    for name, imported in IMPORTS.items():
        if not name.startswith(tuple(f"losslab.{kind}" for kind in kinds)):
            named = [e for e in imported if e.startswith(tuple(f"losslab.{k}" for k in kinds))]
            assert not named, name


def test_hydras_plugins_only_hand_over():
    for path in PLUGINS.glob("*.py"):
        tree = ast.parse(path.read_text())
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)], path
        assert len(path.read_text().splitlines()) <= 15, path


def test_text_is_utf_8_whatever_the_machines_encoding():
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                given = {keyword.arg for keyword in node.keywords}
                is_text = node.func.attr in ("read_text", "write_text")
                assert not is_text or "encoding" in given, f"{name}:{node.lineno}"


LOADED = """
import sys

import losslab
from tests.compose import compose
from runlab.train import train

def loaded():
    rooms = ("runlab.stacks", "runlab.analysis", "runlab.extras.dashboard")
    # Lightning's metrics load scipy and matplotlib
    return [name for name in sys.modules if name.startswith(rooms) or name == "pandas"]

assert not loaded(), loaded()
folder, *overrides = sys.argv[1:]
train(compose(*overrides, folder=folder))
assert not loaded(), loaded()
"""


@pytest.mark.long
def test_a_run_alone_loads_neither_stacks_nor_comparison_nor_dashboards(tmp_path, tiny):
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", LOADED, str(tmp_path / "run"), *tiny, "trainer.max_epochs=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "run.json").exists()
