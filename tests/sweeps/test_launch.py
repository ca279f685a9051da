"""What a command launches: each run once, in a folder of its own, none in the place of another."""

from pathlib import Path

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from runlab.config.fingerprint import earlier_fingerprints
from runlab.launchers.kinds import trains_here
from runlab.runs import record
from runlab.runs.lifecycle import check_settings
from tests.compose import compose

TRAIN = "scripts/train.py"
BARE = [
    *("comparison.sections=[]", "comparison.outputs=[]", "logger=none", "trainer.max_epochs=1"),
    "callback=[checkpoint,stop_on_divergence]",
]
EXPERIMENTS = {"small": "[8]", "large": "[16]"}


@pytest.fixture
def launch(tmp_path, commands, tiny):
    """Runs scripts/train.py -m with these arguments; returns its output and its last sentence."""

    def run(*arguments: str) -> tuple[str, str]:
        done = commands.run(tmp_path, TRAIN, "-m", *tiny, *BARE, *arguments)
        assert (done.returncode == 0) == (done.stderr == "")
        return done.stdout, done.stderr.strip().rpartition("\n")[2]

    return run


def read(folder: Path, run: str = "*") -> list[dict]:
    return [record.read(path.parent) for path in folder.glob(f"logs/train/{run}/run.json")]


def started(entry: dict) -> str:
    return entry["timing"]["started"]


@pytest.mark.parametrize("launcher", ["basic", "joblib", "stacked", "processes"])
def test_our_launchers_train_on_this_machine(launcher):
    compose(f"hydra/launcher={launcher}")
    assert trains_here(HydraConfig.get().launcher)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_machine_without_the_device_may_launch_runs_to_others_that_have_it():
    target = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    assert not trains_here(OmegaConf.create({"_target_": target}))
    cfg = compose("trainer=gpu")
    check_settings(cfg, is_trained_here=False)
    with pytest.raises(ValueError, match=r"expected trainer\.accelerator to be one of"):
        check_settings(cfg, is_trained_here=True)


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["basic", "stacked"])
def test_values_that_are_the_same_are_one_run_and_one_arm(launch, tmp_path, launcher):
    grid = ["optimizer.weight_decay=0,0.0,-0.0,0.1", "seed=0,0", f"hydra/launcher={launcher}"]
    output, _ = launch(*grid)
    assert "6 runs of 8 left out: others give the same result\n" in output
    assert "cross_entropy, weight_decay=0 or cross_entropy, weight_decay=0.1 is" in output
    assert "needed for p < 0.05, got" in " ".join(output.split())  # not: after Holm over 3
    assert sorted(e["config"]["optimizer"]["weight_decay"] for e in read(tmp_path)) == [0, 0.1]
    again, _ = launch(*grid)
    assert "2 of 2 runs have ended already" in again


@pytest.mark.long
def test_runs_as_an_earlier_release_left_them_are_not_trained_again(launch, tmp_path):
    launch("optimizer.weight_decay=0.1,0.0")
    for path in tmp_path.glob("logs/train/*/run.json"):
        entry = record.read(path.parent)
        entry["fingerprint"] = earlier_fingerprints(entry["config"])[0]
        del entry["launch"]
        entry["config"]["watchers"] = list(entry["config"]["watchers"])
        record.write(path.parent, entry)
    [folder] = (tmp_path / "logs" / "train").glob("*weight_decay=0,*")
    folder.rename(folder.with_name(folder.name.replace("decay=0", "decay=0.0")))  # as it was named
    output, _ = launch("optimizer.weight_decay=0.1,0")
    assert "2 of 2 runs have ended already" in output
    assert len(read(tmp_path)) == 2


@pytest.mark.long
def test_experiments_that_are_swept_are_named_and_none_replaces_another(launch, tmp_path):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    for name, widths in EXPERIMENTS.items():
        path = tmp_path / "conf" / "experiment" / f"{name}.yaml"
        path.write_text(f"# @package _global_\nmodel:\n  widths: {widths}\n")
    where = f"hydra.searchpath=[file://{tmp_path}/conf]"
    launch(where, "experiment=small")
    [alone] = (tmp_path / "logs" / "train").glob("*/run.json")
    assert "experiment" not in alone.parent.name
    output, _ = launch(where, "experiment=small,large")
    assert "1 of 2 runs have ended already" in output  # whatever its folder's name
    assert "cross_entropy, experiment=large or cross_entropy, experiment=small is" in output
    assert len(read(tmp_path)) == 2
    launch(where, "experiment=small,large", "overwrite=true")
    for name, widths in EXPERIMENTS.items():
        [entry] = read(tmp_path, f"*experiment={name}*")
        assert str(entry["config"]["model"]["widths"]) == widths


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["basic", "stacked", "processes"])
def test_two_runs_of_a_command_in_one_folder_are_refused_though_it_overwrites(
    launch, tmp_path, launcher
):
    output, sentence = launch(
        *("hydra.sweep.subdir=x", "seed=0,1", "overwrite=true", f"hydra/launcher={launcher}")
    )
    assert sentence.startswith("expected a folder for each run of a command, got two for ")
    assert "let hydra.sweep.subdir tell them apart" in sentence
    [entry] = read(tmp_path)
    assert entry["status"] == "finished"
    assert output.count(": val ") == 1


@pytest.mark.long
def test_the_next_command_may_overwrite_what_this_one_trained(launch, tmp_path):
    for seed in ("0", "1"):
        _, sentence = launch("hydra.sweep.subdir=x", f"seed={seed}", "overwrite=true")
        assert sentence == ""
        [entry] = read(tmp_path)
        assert entry["config"]["seed"] == int(seed)


@pytest.mark.long
def test_folders_that_are_numbered_keep_their_numbers(launch, tmp_path):
    numbered = "hydra.sweep.subdir='${hydra.job.num}'"
    launch(numbered, "seed=5,6,7")
    first = {entry["config"]["seed"]: started(entry) for entry in read(tmp_path)}
    (tmp_path / "logs" / "train" / "1" / "run.json").unlink()
    output, sentence = launch(numbered, "seed=5,6,7")
    assert sentence == ""
    assert output.count(": already finished, skipped") == 2
    seeds = {n: read(tmp_path, str(n))[0]["config"]["seed"] for n in range(3)}
    assert seeds == {0: 5, 1: 6, 2: 7}
    _, sentence = launch(numbered, "seed=6,7", "overwrite=false")
    assert "holds a run of another configuration (data.seed: " in sentence
    assert started(read(tmp_path, "0")[0]) == first[5]


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["basic", "stacked"])
@pytest.mark.parametrize("place", ["${run.folder}/last", "logs/last/${run.name}"])
def test_a_place_that_follows_the_run_is_another_for_each(launch, tmp_path, launcher, place):
    grid = ["seed=0,1", f"callback.last.dirpath={place}", f"hydra/launcher={launcher}"]
    output, sentence = launch(*grid)
    assert sentence == ""
    assert output.count(": val ") == len(list(tmp_path.glob("logs/**/last.ckpt"))) == 2
    again, _ = launch(*grid)
    assert "2 of 2 runs have ended already" in again


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["stacked", "processes", "basic"])
def test_a_point_that_is_proposed_twice_is_trained_once_and_told_to_both(
    launch, tmp_path, launcher
):
    output, sentence = launch(
        *("hydra/sweeper=optuna", "objective=val/accuracy", "hydra.sweeper.direction=maximize"),
        *("hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=4", "seed=choice(0, 1, 2)"),
        *(f"hydra/launcher={launcher}", "overwrite=true"),
    )
    assert sentence == ""
    assert 1 <= len(read(tmp_path)) == output.count(": val ") <= 3 < 4
    assert "best val/accuracy: " in output
