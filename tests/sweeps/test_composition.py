"""`Composer` composes what Hydra does: the same values, kinds, flags and notes of overrides."""

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.initialize import initialize_config_dir
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from runlab.sweeps.composition import Composer
from tests.commands import ROOT

SAME = [
    [],
    ["seed=3"],
    ["seed=3", "optimizer.lr=0.25"],
    ["optimizer.lr=1e-3", "seed=-0"],
    ["optimizer=adam", "optimizer.lr=0.2", "seed=1"],
    ["optimizer.lr=0.2", "optimizer=adam"],
    ["loss=mse", "model.widths=[3,4]", "name=x"],
    ["model.widths=[]"],
    ["name='a, b'", 'retry="failed"'],
    ["objective=null", "overwrite=true"],
    ["data_dir=${oc.env:HOME}/x", "seed=2"],
    ["trainer.max_epochs=${seed}", "seed=4"],
    ["experiment=mse_vs_cross_entropy", "seed=0", "optimizer.lr=0.1"],
    ["experiment=mse_vs_cross_entropy", "+trainer.limit_val_batches=2", "seed=0"],
    ["+optimizer.foo=1", "optimizer.lr=0.2"],
    ["+optimizer.foo={a: 1}", "optimizer.foo.a=2"],
    ["optimizer.lr=0.3", "~optimizer.lr"],
    ["++seed=5", "seed=6"],
    ["seed=6", "++seed=5"],
    ["~callback.progress", "seed=1"],
    ["scheduler=none", "trainer=cpu", "trainer.devices=auto"],
    ["hydra.job.name=other", "seed=1"],
    ["optimizer={lr: 3}", "optimizer.lr=4"],
    ["seed=1", "seed=2"],
    ["comparison.margin=0.3", "logger=none"],
    ["optimizer.learning_rate=3", "seed=1"],  # told later, by what takes no such argument
    ["test_weights=last", "threads=2", "threads=1"],
]
WRONG = [
    ["sead=3"],
    ["watchers={a: b}", "seed=1"],
    ["optimizer=sgdd", "seed=1"],
    ["seed=abc"],
    ["seed=1", "+seed=2"],
    ["trainer.max_epochs.x=3"],
]


@pytest.fixture(scope="module")
def composer():
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("train", ["hydra.sweep.dir=logs/x"], RunMode.MULTIRUN)
        yield Composer(HydraContext(config_loader=loader, callbacks=None), master)


def nodes(value, path=""):
    """Each node with its value, kind and flags."""
    flags = value._metadata.flags
    yield path, type(value), value._metadata.ref_type, value._metadata.object_type, flags
    if OmegaConf.is_dict(value) and not value._is_none() and not value._is_interpolation():
        for key in value:
            yield from nodes(value._get_node(key), f"{path}.{key}")


@pytest.mark.parametrize("overrides", SAME, ids=" ".join)
def test_it_is_what_hydra_composes(composer, overrides):
    ours, hydras = composer.compose(overrides), composer.by_hydra(overrides)
    assert OmegaConf.to_container(ours) == OmegaConf.to_container(hydras)
    assert list(ours) == list(hydras)
    assert list(nodes(ours)) == list(nodes(hydras))


def test_it_composes_once_for_each_choice_of_groups(composer, monkeypatch):
    composer.compose(["loss=mse", "seed=1"])
    monkeypatch.setattr(composer, "by_hydra", lambda overrides: pytest.fail("composed again"))
    before = OmegaConf.to_container(composer.composed["loss=mse",])
    assert composer.compose(["loss=mse", "seed=2", "optimizer.lr=7"]).optimizer.lr == 7
    assert OmegaConf.to_container(composer.composed["loss=mse",]) == before


@pytest.mark.parametrize("overrides", WRONG, ids=" ".join)
def test_what_hydra_refuses_it_refuses_in_the_same_words(composer, overrides):
    composer.compose(["seed=1"])
    with pytest.raises(HydraException) as ours:
        composer.compose(overrides)
    with pytest.raises(HydraException) as hydras:
        composer.by_hydra(overrides)
    assert type(ours.value) is type(hydras.value)
    assert str(ours.value) == str(hydras.value)
    assert repr(ours.value.__cause__) == repr(hydras.value.__cause__)
