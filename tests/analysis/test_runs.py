import json
from pathlib import Path

import pytest

from runlab.analysis.compare import compare
from runlab.analysis.runs import load
from runlab.analysis.terminal import terminal
from runlab.analysis.write import write
from runlab.runs import record
from tests.analysis.synthetic import write_run, write_sweep


def arms(sweep: Path) -> list[str]:
    return sorted(load(sweep)[0]["arm"].unique())


def test_one_row_a_run_with_its_metrics(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, (0.97, 0.96))
    write_run(tmp_path, "cross_entropy", 0.1, 3, 0.98)
    runs = load(tmp_path)[0].set_index("run")
    assert len(runs) == 2
    row = runs.loc["loss=mse,lr=0.1,seed=0"]
    assert (row["arm"], row["learning_rate"], row["seed"], row["status"]) == (
        "mse",
        0.1,
        0,
        "finished",
    )
    assert (row["val/accuracy"], row["test/accuracy"]) == (0.97, 0.96)
    assert (row["revision"], row["hardware"]) == ("abc1234", "cpu Synthetic CPU")


def test_zero_is_a_seed(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    assert load(tmp_path)[0]["seed"].tolist() == [0]


def test_folders_that_are_no_runs_are_passed_over(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    (tmp_path / "comparison").mkdir()
    assert len(load(tmp_path)[0]) == 1


def test_an_unreadable_record_is_a_row_with_its_problem(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    broken = write_run(tmp_path, "mse", 0.1, 1)
    (broken / "run.json").write_text("{")
    runs = load(tmp_path)[0].set_index("run")
    assert runs.loc[broken.name, "status"] == "unreadable"
    assert "run.json" in str(runs.loc[broken.name, "problem"])


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"optimizer": {"lr": -1}}, "optimizer.lr to be a finite number of at least 0, got -1"),
        ({"optimizer": {"lr": 1e-40}}, "optimizer.lr to be 0, or from 1e-30 to 1e+30, got 1e-40"),
        ({"seed": None}, "expected config.seed in run.json, got none"),
    ],
)
def test_a_record_without_what_places_it_is_named(
    tmp_path: Path, config: dict[str, object], problem: str
) -> None:
    write_run(tmp_path, "mse", 0.1, 0, config=config)
    assert problem in load(tmp_path)[0]["problem"].iloc[0]


def write_unvalidated(sweep: Path, loss: str, rate: float, reached: float) -> None:
    for seed in range(6):
        test = reached + seed * 1e-4 * (loss == "mse")
        folder = write_run(sweep, loss, rate, seed, test)
        entry = record.read(folder)
        metrics = {key: own for key, own in entry["metrics"].items() if key.startswith("test/")}
        record.write(folder, entry | {"metrics": metrics})


def test_arms_of_one_rate_without_validation_are_compared_by_their_tests(tmp_path: Path) -> None:
    write_unvalidated(tmp_path, "mse", 0.1, 0.9)
    write_unvalidated(tmp_path, "focal", 0.1, 0.92)
    comparison = compare(tmp_path)
    assert comparison.runs["problem"].tolist() == [""] * 12
    assert comparison.warnings == []
    assert comparison.verdict.startswith("focal better than mse by 1.98 points")
    assert comparison.differences["repeat_other_better"].tolist() == [1]
    assert "focal better than mse" in (write(comparison) / "comparison.md").read_text()
    terminal(comparison)


def test_an_arm_of_several_rates_without_validation_has_a_sentence_of_its_own(tmp_path: Path):
    write_unvalidated(tmp_path, "mse", 0.1, 0.9)
    write_unvalidated(tmp_path, "mse", 0.2, 0.9)
    write_unvalidated(tmp_path, "focal", 0.1, 0.92)
    comparison = compare(tmp_path)
    assert comparison.warnings[0] == (
        "expected one learning rate an arm, as the runs had no validation to choose by: mse has "
        "0.1, 0.2"
    )
    assert comparison.arms["arm"].tolist() == ["focal"]


def test_a_run_that_left_no_record_is_a_row(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    (tmp_path / "loss=mse,lr=0.1,seed=1" / ".hydra").mkdir(parents=True)
    assert load(tmp_path)[0]["status"].tolist() == ["finished", "unrecorded"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected the folder of a sweep, got .*nowhere"):
        load(tmp_path / "nowhere")


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected folders with a run\.json in .*, got none"):
        load(tmp_path)[0]


def test_a_single_runs_folder_points_to_its_sweep(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sweep", "mse", 0.1, 0)
    with pytest.raises(ValueError, match=f"name the folder that holds it: {tmp_path / 'sweep'}"):
        load(run)


def test_an_arm_is_the_loss_alone_where_nothing_else_varies(tmp_path: Path) -> None:
    cells = {("mse", 0.1): [0.9, 0.9], ("mse", 0.2): [0.9], ("cross_entropy", 0.1): [0.9]}
    assert arms(write_sweep(tmp_path, cells)) == ["cross_entropy", "mse"]


def test_a_swept_choice_is_part_of_the_arm_without_what_follows_from_it(tmp_path: Path) -> None:
    cnn = {"_target_": "losslab.models.CNN", "channels": 32}
    write_run(tmp_path, "mse", 0.1, 0)
    write_run(tmp_path, "mse", 0.1, 0, name="b", choices={"model": "cnn"}, config={"model": cnn})
    assert arms(tmp_path) == ["mse, model=cnn", "mse, model=mlp"]


def test_a_swept_value_is_part_of_the_arm_by_its_short_name(tmp_path: Path) -> None:
    for epochs in (3, 5):
        config = {"trainer": {"max_epochs": epochs}, "scheduler": {"epochs": epochs}}
        overrides = [f"trainer.max_epochs={epochs}"]
        write_run(tmp_path, "mse", 0.1, 0, name=f"{epochs}", config=config, overrides=overrides)
    assert arms(tmp_path) == ["mse, max_epochs=3", "mse, max_epochs=5"]


def test_a_value_is_one_arm_however_it_was_written(tmp_path: Path) -> None:
    for seed, momentum in enumerate((0, 0.0, -0.0, 1, 1.0)):
        config = {"optimizer": {"lr": 0.1, "momentum": momentum}}
        write_run(tmp_path, "mse", 0.1, seed, config=config)
    assert arms(tmp_path) == ["mse, momentum=0", "mse, momentum=1"]


def test_true_is_not_the_arm_of_one(tmp_path: Path) -> None:
    for seed, value in enumerate((1, True, "1.0")):
        write_run(tmp_path, "mse", 0.1, seed, config={"optimizer": {"lr": 0.1, "x": value}})
    assert arms(tmp_path) == ["mse, x=1", "mse, x=1.0", "mse, x=true"]


def test_text_that_reads_as_another_value_is_another_arm(tmp_path: Path) -> None:
    for seed, value in enumerate((True, "true", None, "null", ["é, b=1"])):
        write_run(tmp_path, "mse", 0.1, seed, config={"optimizer": {"lr": 0.1, "x": value}})
    assert arms(tmp_path) == [
        'mse, x="null"', 'mse, x="true"', 'mse, x=["é, b=1"]', "mse, x=null", "mse, x=true",
    ]  # fmt: skip


def test_experiments_are_arms_where_a_multirun_compared_them(tmp_path: Path) -> None:
    for name, widths in (("small", [8]), ("large", [16])):
        choices, config = {"experiment": name}, {"model": {"widths": widths}}
        folder = write_run(tmp_path, "mse", 0.1, 0, name=name, choices=choices, config=config)
    assert arms(tmp_path) == ["mse, widths=[16]", "mse, widths=[8]"]
    entry = json.loads((folder / "run.json").read_text())
    entry["launch"] = {"id": "4f", "swept": ["experiment"]}
    (folder / "run.json").write_text(json.dumps(entry))
    assert arms(tmp_path) == ["mse, experiment=large", "mse, experiment=small"]


def test_a_value_within_a_varying_choice_is_kept_where_it_varies(tmp_path: Path) -> None:
    models = [("mlp", {"widths": [64]}), ("mlp", {"widths": [32]}), ("linear", {"bias": True})]
    for name, model in models:
        run = f"{name}{len(list(tmp_path.iterdir()))}"
        write_run(
            tmp_path, "mse", 0.1, 0, name=run, choices={"model": name}, config={"model": model}
        )
    assert arms(tmp_path) == [
        "mse, model=linear",
        "mse, model=mlp, widths=[32]",
        "mse, model=mlp, widths=[64]",
    ]


def test_a_setting_changed_between_two_losses_is_not_silently_mixed(tmp_path: Path) -> None:
    for loss, epochs in (("mse", 3), ("cross_entropy", 5)):
        write_run(tmp_path, loss, 0.1, 0, config={"trainer": {"max_epochs": epochs}})
    assert arms(tmp_path) == ["cross_entropy, max_epochs=5", "mse, max_epochs=3"]


def test_a_parameter_of_one_loss_alone_does_not_split_it(tmp_path: Path) -> None:
    write_run(tmp_path, "mse_logits", 0.1, 0, config={"loss": {"k": 1.0}})
    write_run(tmp_path, "mse", 0.1, 0, config={"loss": {"reduction": "mean"}})
    assert arms(tmp_path) == ["mse", "mse_logits"]


def test_a_swept_parameter_of_a_loss_splits_it(tmp_path: Path) -> None:
    for k in (1, 5):
        write_run(tmp_path, "mse_logits", 0.1, 0, name=f"{k}", config={"loss": {"k": k}})
    assert arms(tmp_path) == ["mse_logits, k=1", "mse_logits, k=5"]


def test_a_value_interpolated_from_the_learning_rate_or_seed_adds_no_arm(tmp_path: Path) -> None:
    for rate, seed in ((0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)):
        config = {"scheduler": {"max_lr": rate}, "data": {"order_seed": seed}}
        write_run(tmp_path, "mse", rate, seed, config=config)
    assert arms(tmp_path) == ["mse"]


def test_where_a_run_writes_and_which_experiment_it_came_from_add_no_arm(tmp_path: Path) -> None:
    for seed, experiment in enumerate(("a", "b")):
        config = {"name": experiment, "data_dir": experiment, "data": {"root": experiment}}
        choices = {"experiment": experiment, "logger": experiment}
        write_run(tmp_path, "mse", 0.1, seed, config=config, choices=choices)
    assert arms(tmp_path) == ["mse"]


def test_a_record_is_read_as_the_tests_write_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "mse", 0.1, 0)
    assert json.loads((folder / "run.json").read_text())["choices"]["loss"] == "mse"


def test_a_stack_that_computed_something_else_casts_doubt_on_all_runs(tmp_path):
    write_run(tmp_path, "mse", 0.1, 0)
    assert not any("stack" in each for each in compare(tmp_path).warnings)
    folder = write_run(tmp_path, "mse", 0.1, 1, status="failed")
    record.write(folder, record.read(folder) | {"from_start": True})
    [warning] = [each for each in compare(tmp_path).warnings if "a stack computed" in each]
    assert "lr=0.1,seed=1" in warning
    assert "overwrite=true" in warning
