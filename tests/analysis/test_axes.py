"""What runs are compared by: arms of another key than `loss`, and another rate, or none."""

import csv
import re
from pathlib import Path

import pytest

from runlab.analysis.compare import compare
from runlab.analysis.learning_rates import NO_RATE
from runlab.analysis.terminal import terminal
from runlab.analysis.write import write
from tests.analysis.synthetic import LOSS, keep_curves, write_module_run, write_run

SEEDS = range(6)
LOSS_WORDS = re.compile(r"\bloss=|\blosses?\b(?! have a unit)", re.IGNORECASE)
RATE_WORDS = re.compile(r"learning.rate|\btuned\b|\brates?\b", re.IGNORECASE)


def write_modules(sweep: Path, rates: tuple[float | None, ...], **rest: object) -> Path:
    """`b` is ahead of `a` by a point, a little more with each seed; both do best at 0.1."""
    for module, reached in (("a", 0.90), ("b", 0.91)):
        for rate in rates:
            for seed in SEEDS:
                value = reached - 0.05 * (rate not in (None, 0.1)) + seed * 1e-4 * (module == "b")
                folder = write_module_run(sweep, module, seed, value, rate, **rest)
                keep_curves(folder, [value / 2, value])
    return sweep


def texts(sweep: Path) -> list[str]:
    """Terminal, page without its figures, and Markdown of a comparison."""
    comparison = compare(sweep)
    folder = write(comparison)
    page = (folder / "comparison.html").read_text()
    page = re.sub("<style>.*?</style>|<svg.*?</svg>|<[^>]*>", " ", page, flags=re.DOTALL)
    return [terminal(comparison), page, (folder / "comparison.md").read_text()]


def header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


@pytest.mark.long
def test_modules_are_arms_and_their_own_learning_rate_is_chosen(tmp_path: Path) -> None:
    comparison = compare(write_modules(tmp_path, (0.05, 0.1, 0.2)))
    assert comparison.arms[["arm", "learning_rate"]].to_numpy().tolist() == [["a", 0.1], ["b", 0.1]]
    assert comparison.arms["setting/module"].tolist() == ["a", "b"]
    assert comparison.warnings == []
    assert comparison.verdict.startswith("b better than a by 1.02")
    for text in texts(tmp_path):
        assert "learning rate" in text
        assert LOSS_WORDS.findall(text) == []
    assert {path.stem for path in comparison.folder.glob("*.svg")} == {
        *("sensitivity", "grid", "paired", "learning_curves"),
    }


def test_without_a_rate_an_arm_is_one_cell_and_nothing_speaks_of_one(tmp_path: Path) -> None:
    comparison = compare(write_modules(tmp_path, (None,), comparison={"rate": None}))
    assert comparison.rate is None
    assert comparison.cells[["arm", "n"]].to_numpy().tolist() == [["a", 6], ["b", 6]]
    assert comparison.naive.empty
    assert comparison.warnings == []
    assert "a better than b" not in comparison.verdict
    assert "paired seeds, exact permutation p = 0.031" in comparison.verdict
    for text in texts(tmp_path):
        assert RATE_WORDS.findall(text) == []
    names = {path.stem for path in comparison.folder.glob("*.svg")}
    assert names == {"grid", "paired", "learning_curves"}
    for name in ("runs", "cells", "arms", "differences", "curves"):
        assert not [each for each in header(comparison.folder / f"{name}.csv") if "rate" in each]


def test_without_a_rate_bad_ends_are_told_and_no_learning_rate_is_advised(tmp_path: Path) -> None:
    axes = {"rate": None}
    for seed in SEEDS:
        write_module_run(tmp_path, "a", seed, 0.9, comparison=axes)
        end = "diverged" if seed else "collapsed"
        write_module_run(tmp_path, "b", seed, 0.1, comparison=axes, status=end)
    comparison = compare(tmp_path)
    assert comparison.cells[["diverged", "collapsed"]].to_numpy().tolist() == [[0, 0], [5, 1]]
    assert "b: every run diverged or collapsed" in comparison.warnings
    for text in texts(tmp_path):
        assert "collapsed" in text
        assert RATE_WORDS.findall(text) == []


def test_a_learning_rate_that_is_no_rate_of_the_comparison_names_arms(tmp_path: Path) -> None:
    write_modules(tmp_path, (0.1, 0.2), comparison={"rate": None})
    assert compare(tmp_path).cells["arm"].tolist() == [
        *("a, lr=0.1", "a, lr=0.2", "b, lr=0.1", "b, lr=0.2"),
    ]


@pytest.mark.long
def test_an_arm_without_the_rate_stands_beside_arms_with_it(tmp_path: Path) -> None:
    write_modules(tmp_path, (0.1, 0.2))
    for seed in SEEDS:
        write_module_run(tmp_path, "c", seed, 0.8)
    comparison = compare(tmp_path)
    assert comparison.arms["learning_rate"].tolist() == [0.1, 0.1, NO_RATE]
    assert not [each for each in comparison.warnings if each.startswith("c")]
    assert not comparison.naive["other"].eq("c").any()
    shown = terminal(comparison).splitlines()
    assert any(re.fullmatch(r"c +– +6 +0 .*", line) for line in shown)
    with (write(comparison) / "cells.csv").open(newline="") as file:
        rates = {row["arm"]: row["learning_rate"] for row in csv.DictReader(file)}
    assert rates["c"] == ""


@pytest.mark.long
@pytest.mark.parametrize(("untuned", "expected"), [(0.99, ""), (0.899, "0.1 only")])
def test_runs_of_an_arm_that_lack_the_rate_are_no_part_of_its_good_range(
    tmp_path: Path, untuned: float, expected: str
) -> None:
    write_modules(tmp_path, (0.1, 0.2))
    for seed in SEEDS:
        write_module_run(tmp_path, "a", seed, untuned)
    comparison = compare(tmp_path)
    assert comparison.arms.set_index("arm").loc["a", "good_range"] == expected
    terminal(comparison)
    write(comparison)


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("data.batch_size", lambda value: {"data": {"batch_size": int(value)}}),
        ("loss.k", lambda value: {"loss": {"k": value}}),
    ],
)
def test_a_rate_that_is_no_learning_rate_is_called_by_its_key(tmp_path: Path, key, config) -> None:
    for loss in ("mse", "focal"):
        for value in (32, 64, 128):
            for seed in SEEDS:
                write_run(
                    tmp_path, loss, 0.1, seed, 0.9 - (loss == "mse") / 50 + value / 10_000,
                    name=f"{loss}{value}{seed}", config=config(value), comparison={"rate": key},
                )  # fmt: skip
    comparison = compare(tmp_path)
    assert comparison.arms["learning_rate"].tolist() == [128, 128]
    assert comparison.warnings[0] == (
        f"mse: its chosen {key} 128 is the largest that was tried, so a better one may lie beyond; "
        "try 256 too"
    )
    for text in texts(tmp_path):
        assert "learning rate" not in text
        assert f"chosen {key}" in text
    assert key in header(comparison.folder / "arms.csv")
    assert key in (comparison.folder / "sensitivity.svg").read_text()


def test_modules_that_may_compute_other_losses_are_ranked_by_them_with_a_warning(
    tmp_path: Path,
) -> None:
    for module in ("a", "b"):
        for seed in SEEDS:
            write_module_run(tmp_path, module, seed, measures=[LOSS], comparison={"rate": None})
    [told] = [each for each in compare(tmp_path).warnings if "modules differ" in each]
    assert told == (
        "the arms are ranked by loss, which is comparable only for runs of one loss, and their "
        "modules differ (tests.modules.a, tests.modules.b): see that all of them compute the same "
        "loss, or compare by another measure"
    )


def test_a_rate_that_is_no_number_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, comparison={"rate": "optimizer._target_"})
    with pytest.raises(
        ValueError, match=r"optimizer\._target_ to be a finite number of at least 0"
    ):
        compare(tmp_path)


def test_a_rate_within_a_list_is_tuned_and_names_no_arm(tmp_path: Path) -> None:
    axes = {"rate": "parameter_groups.0.lr"}
    for loss in ("mse", "focal"):
        for rate in (0.1, 0.2):
            groups = [{"pattern": "*.bias", "lr": rate}, {"pattern": "*", "max_ndim": 1}]
            write_run(
                tmp_path, loss, 0.1, 0, 0.9 + rate / 100, name=f"{loss}{rate}", comparison=axes,
                config={"parameter_groups": groups},
            )  # fmt: skip
    arms = compare(tmp_path).arms
    assert arms[["arm", "learning_rate"]].to_numpy().tolist() == [["mse", 0.2], ["focal", 0.2]]


def write_decays(sweep: Path, best: dict[str, float], values: tuple[float, ...]) -> Path:
    """Arms that do best at their own weight decay, by a point, and have 0 among its values."""
    axes = {"rate": "optimizer.weight_decay"}
    for loss, peak in best.items():
        for value in values:
            for seed in SEEDS:
                reached = 0.9 - 0.01 * (value != peak) + seed * 1e-4 * (loss == "mse")
                optimizer = {"lr": 0.1, "weight_decay": value}
                write_run(
                    sweep, loss, 0.1, seed, reached, name=f"{loss}{value}{seed}",
                    config={"optimizer": optimizer}, comparison=axes,
                )  # fmt: skip
    return sweep


def test_a_rate_of_0_is_compared_and_no_value_is_advised_below_it(tmp_path: Path) -> None:
    best = {"mse": 0.0, "focal": 0.01}
    comparison = compare(write_decays(tmp_path, best, (0, 0.01, 0.03)))
    chosen = comparison.arms.set_index("arm")["learning_rate"]
    assert chosen.to_dict() == {"mse": 0.0, "focal": 0.01}
    assert comparison.warnings == []
    assert "provisional" not in comparison.verdict
    shown, page, markdown = texts(tmp_path)
    assert re.search(r"^mse +0 +6 +0 ", shown, re.MULTILINE)
    assert re.search(r"mse\s+0\s+6\s+0\s", page)
    assert "| mse | 0 | 6 | 0 |" in markdown
    for name in ("cells", "arms", "runs"):
        with (comparison.folder / f"{name}.csv").open(newline="") as file:
            rates = {row["optimizer.weight_decay"] for row in csv.DictReader(file)}
        assert {float(each) for each in rates} >= {0.0, 0.01}


def test_a_single_rate_of_0_is_drawn_and_a_value_above_it_advised(tmp_path: Path) -> None:
    write_decays(tmp_path, {"mse": 0.0, "focal": 0.0}, (0,))
    comparison = compare(tmp_path)
    [single] = [each for each in comparison.warnings if "single" in each]
    assert single.endswith("a single optimizer.weight_decay was tried, 0; add others above it")
    assert "sensitivity.svg" in {path.name for path in write(comparison).iterdir()}


def test_runs_that_name_different_keys_are_refused_unless_one_is_given(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "mse", 0.1, seed)
    write_run(tmp_path, "mse", 0.1, 3, name="odd", comparison={"arm": "model", "rate": None})
    expected = r"one comparison\.arm, got loss \(3 runs\), model \(1 run: odd\): say by --arm"
    with pytest.raises(ValueError, match=expected):
        compare(tmp_path)
    with pytest.raises(
        ValueError, match=r"optimizer\.lr \(3 runs\), null \(1 run: odd\): .*--rate"
    ):
        compare(tmp_path, arm="loss")
    assert compare(tmp_path, arm="loss", rate="optimizer.lr").cells["arm"].tolist() == ["mse"]
    assert compare(tmp_path, arm="model", rate="null").cells["arm"].tolist() == ["mlp"]


def test_keys_that_no_run_has_are_told_where_somebody_chose_them(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, comparison={"arm": "modul", "rate": "optimizer.lrr"})
    told = [each for each in compare(tmp_path).warnings if each.startswith("no run has")]
    assert [re.findall(r"comparison\.\S+", each)[0] for each in told] == [
        "comparison.rate=optimizer.lrr", "comparison.arm=modul",
    ]  # fmt: skip
    assert compare(tmp_path, "accuracy", arm="loss", rate="null").warnings == []


def test_a_nested_key_is_an_arm_with_its_name(tmp_path: Path) -> None:
    for widths in ([128, 64], [8]):
        config, axes = {"model": {"widths": widths}}, {"arm": "model.widths"}
        write_run(tmp_path, "mse", 0.1, 0, name=str(widths), config=config, comparison=axes)
    assert compare(tmp_path).cells["arm"].tolist() == ["widths=[8]", "widths=[128, 64]"]


@pytest.mark.parametrize(
    ("choices", "arm"), [({"module": "classifier"}, "classifier"), ({}, "all runs")]
)
def test_without_an_arms_key_and_variation_all_runs_are_one_arm(
    tmp_path: Path, choices: dict[str, str], arm: str
) -> None:
    for seed in range(2):
        write_run(tmp_path, "mse", 0.1, seed, choices=choices, comparison={"arm": None})
    assert compare(tmp_path).cells["arm"].tolist() == [arm]


def test_without_an_arms_key_what_varies_names_the_arms(tmp_path: Path) -> None:
    for loss in ("mse", "focal"):
        write_run(tmp_path, loss, 0.1, 0, comparison={"arm": None})
    assert compare(tmp_path).cells["arm"].tolist() == ["loss=focal", "loss=mse"]


def test_modules_that_take_other_parts_are_arms_by_default(tmp_path: Path) -> None:
    default = {"arm": "loss", "rate": "optimizer.lr"}
    write_module_run(tmp_path, "a", 0, comparison=default)
    write_module_run(tmp_path, "b", 0, comparison=default)
    write_run(tmp_path, "mse", 0.1, 0, choices={"module": "classifier"})
    assert set(compare(tmp_path).cells["arm"]) == {
        *("module=a", "module=b", "mse, module=classifier"),
    }


def test_parts_that_only_some_modules_take_name_no_arm(tmp_path: Path) -> None:
    write_module_run(tmp_path, "a", 0, comparison={"rate": "optimizer.lr"})
    for widths in ([8], [16]):
        write_run(
            tmp_path, "mse", 0.1, 0, name=f"{widths}", choices={"module": "classifier"},
            config={"model": {"widths": widths}}, comparison={"arm": "module"},
        )  # fmt: skip
    assert compare(tmp_path).cells["arm"].tolist() == [
        *("a", "classifier, widths=[8]", "classifier, widths=[16]"),
    ]
