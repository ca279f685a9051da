"""The project from a notebook or a script of one's own, without a Hydra application."""

import json
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError

from runlab import api
from runlab.config.run_name import as_given
from runlab.runs.lifecycle import resolved_config
from tests.compose import compose

SCRIPT = """
import asyncio, json, sys
from runlab.api import compare, compose, load, load_data, load_runs, train

def main():
    tiny = json.loads(sys.argv[1])
    for loss in ("mse", "cross_entropy"):
        for seed in (0, 1):
            record = train(compose(*tiny, f"loss={loss}", f"seed={seed}", "name=first"))
    runs, comparison = load_runs("logs/first"), compare("logs/first")
    [best] = comparison.sweep.glob("loss=mse,*seed=0*/checkpoints/best.ckpt")
    module, data = load(best), load_data(best)
    data.setup("test")
    print(json.dumps({
        "status": record["status"],
        "runs": sorted(zip(runs["loss"], map(int, runs["seed"]))),
        "tables": [len(getattr(comparison, name)) for name in ("cells", "arms", "differences")],
        "training": module.training,
        "batches": len(data.test_dataloader()),
    }))

async def cell():
    main()

asyncio.run(cell())  # as in a notebook, where an event loop runs already
"""


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("loss=mse", "optimizer.lr=1e-1", "seed=3", "model.widths=[8, 4]"),
        ("experiment=tune_learning_rate", "data.split_seed=${seed}"),
        ("+model.tag=a\\=b", "name=${loss._target_}"),
    ],
)
def test_what_is_composed_is_what_the_command_line_trains(overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = api.compose(*overrides)
    of_command = compose(*overrides, folder=Path(cfg.run.folder))
    assert resolved_config(cfg) == resolved_config(of_command)
    assert Path(cfg.run.folder) == tmp_path / "logs" / of_command.name / of_command.run.name
    assert cfg.run.name == of_command.run.name
    assert as_given(cfg.run.overrides) == as_given(of_command.run.overrides)
    assert cfg.run.choices == of_command.run.choices


def test_nothing_of_hydra_is_left_or_needed(monkeypatch):
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    cfg = api.compose("experiment=tune_learning_rate", "loss=mse")
    assert not HydraConfig.initialized()
    assert cfg.name == "tune_learning_rate_mse"
    assert "${hydra:" not in str(OmegaConf.to_container(cfg))
    compose()
    before = HydraConfig.instance().cfg
    api.compose()
    assert HydraConfig.instance().cfg is before, "an application's own stays"


def test_a_configuration_cannot_be_changed_under_its_runs_name():
    with pytest.raises(ReadonlyConfigError):
        api.compose().seed = 3


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("loss=mse,cross_entropy", "expected settings of one run, got loss=mse,cross_entropy"),
        ("hydra/launcher=stacked", "expected settings of one run, got hydra/launcher=stacked"),
        ("hydra.sweeper.max_batch_size=3", "expected settings of one run, got hydra.sweeper"),
        ("los=mse", "unknown key los; did you mean loss?"),
        ("loss=ms", "unknown choice loss=ms; did you mean mse?"),
        ("seed=x", "expected seed to be of type int"),
    ],
)
def test_an_override_that_does_not_fit_is_one_sentence(override, sentence):
    with pytest.raises(ValueError, match=rf"^{sentence.replace('?', '[?]')}"):
        api.compose(override)


def test_a_project_whose_configuration_lies_elsewhere_is_asked_for(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"got no train\.yaml there: give compose\(…, config_dir"):
        api.compose(config_dir=tmp_path)
    elsewhere, conf = tmp_path / "conf", api.CONF
    elsewhere.symlink_to(conf)
    monkeypatch.setattr(api, "CONF", tmp_path)
    assert api.compose("seed=3", config_dir=elsewhere).seed == 3


def test_a_script_trains_compares_and_loads_from_any_working_directory(commands, tiny, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    place = tmp_path / "elsewhere"
    place.mkdir()
    done = commands.run(place, str(script), json.dumps(tiny))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "status": "finished",
        "runs": [["cross_entropy", 0], ["cross_entropy", 1], ["mse", 0], ["mse", 1]],
        "tables": [2, 2, 1],
        "training": False,
        "batches": 1,
    }


def test_what_is_no_checkpoint_or_sweep_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.ckpt"):
        for asked in (api.load, api.load_data):
            with pytest.raises(ValueError, match=r"^expected a checkpoint"):
                asked(path)
    with pytest.raises(ValueError, match="expected"):
        api.load_runs(tmp_path)
