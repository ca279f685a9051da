"""What the seeds of a sweep cover, and what was held equal."""

from pathlib import Path
from typing import Any

from runlab.analysis.compare import compare
from runlab.analysis.terminal import terminal
from runlab.analysis.write import write
from tests.analysis.synthetic import PROVENANCE, write_run


def write_seeds(sweep: Path, seeds: int, follows: bool = False, **rest: Any) -> Path:
    for seed in range(seeds):
        for arm in ("mse", "cross_entropy"):
            data = {"seed": seed, "split_seed": seed if follows else 0, "batch_size": 64}
            write_run(sweep, arm, 0.1, seed, config={"data": data}, **rest)
    return sweep


def test_a_seed_of_its_own_is_named_with_the_way_to_vary_it(tmp_path: Path) -> None:
    comparison = compare(write_seeds(tmp_path, 3))
    assert comparison.coverage == [
        "The seeds cover initial weights and whatever else a run draws; data.seed follows the seed",
        "They do not cover what data.split_seed decides: it is 0 in every run; "
        "'data.split_seed=${seed}' on the command line, in these quotes, varies it with the seed",
        "Held equal: model=mlp, data=mnist but for seed, optimizer=sgd, trainer.max_epochs=3",
        "The runs had 1 kind of hardware and 1 set of library versions",
        "Rounding on another processor is another draw of the same kind as another seed: there, "
        "too, a verdict may be another",
        "Intervals and p hold for the chosen learning rates, as if no others had been tried",
    ]
    folder = write(comparison)
    assert f"- {comparison.coverage[0]}.\n" in (folder / "comparison.md").read_text()
    assert f"<li>{comparison.coverage[2]}.</li>" in (folder / "comparison.html").read_text()
    assert f"- {comparison.coverage[3]}" in terminal(comparison).splitlines()


def test_a_split_that_follows_the_seed_is_covered_and_makes_no_arms(tmp_path: Path) -> None:
    comparison = compare(write_seeds(tmp_path, 3, follows=True))
    assert "; data.seed and data.split_seed follow the seed" in comparison.coverage[0]
    assert not any("do not cover" in sentence for sentence in comparison.coverage)
    assert comparison.arms["arm"].tolist() == ["cross_entropy", "mse"]


def test_what_varies_in_some_runs_alone_is_neither_covered_nor_equal(tmp_path: Path) -> None:
    write_seeds(tmp_path, 3)
    write_run(tmp_path, "mse", 0.2, 0, config={"data": {"seed": 7, "batch_size": 32}})
    covered, equal, *_ = compare(tmp_path).coverage
    assert covered.endswith("whatever else a run draws")
    assert "data=mnist but for seed and split_seed and batch_size" in equal
    assert "optimizer=sgd but for lr" in equal


def test_what_limited_the_runs_is_said_and_what_did_not_is_not(tmp_path: Path) -> None:
    limits = {"limit_train_batches": 50, "limit_test_batches": 1.0, "max_steps": -1}
    for seed in range(3):
        for arm in ("mse", "cross_entropy"):
            write_run(tmp_path, arm, 0.1, seed, config={"trainer": {"max_epochs": 3, **limits}})
    [equal] = [each for each in compare(tmp_path).coverage if each.startswith("Held equal")]
    assert equal.endswith("trainer.max_epochs=3, trainer.limit_train_batches=50")


def test_one_seed_covers_nothing(tmp_path: Path) -> None:
    coverage = compare(write_seeds(tmp_path, 1)).coverage
    assert coverage[0].startswith("Held equal: ")
    assert not any("cover" in sentence for sentence in coverage)


def test_machines_are_counted(tmp_path: Path) -> None:
    write_seeds(tmp_path, 2)
    other = PROVENANCE | {"hardware": {"cpu": "Another CPU"}}
    write_run(tmp_path, "mse", 0.1, 2, provenance=other)
    assert "2 kinds of hardware and 1 set of library versions" in "\n".join(
        compare(tmp_path).coverage
    )
