"""The project from a notebook or a script of one's own, without a Hydra application."""

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError

from runlab import api
from runlab.config.run_name import as_given
from runlab.runs.lifecycle import resolved_config
from tests.compose import ROOT, compose

[EXAMPLE] = re.findall(
    r"```python\n(from runlab\.api .*?)```",
    (ROOT / "docs" / "contract.md").read_text(),
    re.DOTALL,
)


@pytest.mark.long
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
        ("-m", "expected settings of one run, got -m: compose and train each run in a loop"),
        ("hydra/launcher=stacked", "expected settings of one run, got hydra/launcher=stacked"),
        ("hydra.sweeper.max_batch_size=3", "expected settings of one run, got hydra.sweeper"),
        ("los=mse", "unknown key los; did you mean loss?"),
        ("loss=ms", "unknown choice loss=ms; did you mean mse?"),
        ("seed=x", "expected seed to be a whole number"),
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


def test_a_notebooks_process_is_what_it_was_and_lightning_says_nothing(tiny, tmp_path, monkeypatch):
    lightning, said = logging.getLogger("lightning.pytorch"), []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", said.append)
    monkeypatch.setattr(lightning, "handlers", [handler])
    monkeypatch.setattr(lightning, "level", logging.INFO)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    try:
        api.train(compose(*tiny, "model=linear", "trainer.max_epochs=1", folder=tmp_path / "run"))
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(1)
    assert lightning.level == logging.INFO
    assert said == []


@pytest.mark.long
def test_the_pages_example_runs_in_a_notebook_from_any_working_directory(
    tiny, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    names: dict[str, Any] = {"tiny": tiny}

    async def cell() -> None:  # in a notebook an event loop runs already
        exec(EXAMPLE.replace("compose(", "compose(*tiny, "), names)

    asyncio.run(cell())
    assert names["record"]["status"] == "finished"
    comparison = names["comparison"]
    sizes = [len(getattr(comparison, each)) for each in ("runs", "cells", "arms", "differences")]
    assert sizes == [6, 2, 2, 1]
    assert set(api.load_runs("logs/first")["loss"]) == {"mse", "cross_entropy"}
    module, data = names["module"], names["data"]
    trainer = L.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    trainer.test(module, data, verbose=False)
    record = json.loads((names["path"].parents[1] / "run.json").read_text())
    assert trainer.callback_metrics["test/accuracy"] == record["metrics"]["test/accuracy"]


def test_what_is_no_checkpoint_or_sweep_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.ckpt"):
        for asked in (api.load, api.load_data):
            with pytest.raises(ValueError, match=r"^expected a checkpoint"):
                asked(path)
    with pytest.raises(ValueError, match="expected"):
        api.load_runs(tmp_path)
