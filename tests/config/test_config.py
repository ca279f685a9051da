import math

import pytest
from omegaconf import OmegaConf

from runlab.config import run_name, schema
from runlab.config.run_name import SWEPT_KEYS
from runlab.sweeps.grid import swept_keys
from tests.compose import compose


def check(*overrides: str) -> None:
    schema.check(OmegaConf.to_container(compose(*overrides), resolve=True))


def test_a_run_is_named_by_loss_rate_and_seed_whatever_the_order_of_overrides():
    first = compose("loss=mse", "optimizer.lr=0.1", "seed=3", "model=cnn")
    second = compose("model=cnn", "seed=3", "optimizer.lr=1e-1", "loss=mse")
    assert first.run.name == second.run.name == "loss=mse,lr=0.1,seed=3,model=cnn"


def test_a_run_without_overrides_is_named_by_its_defaults():
    assert compose().run.name == "loss=cross_entropy,lr=0.1,seed=0"


def test_overrides_that_do_not_identify_a_run_are_not_in_its_name():
    assert compose("name=mine", "data_dir=/elsewhere").run.name == compose().run.name


@pytest.mark.parametrize(
    ("choice", "named"),
    [("[default,histograms,graph]", False), ("default", False), ("[default,mine]", True),
     ("histograms", True)],
)  # fmt: skip
def test_callbacks_that_only_watch_are_not_in_a_runs_name(choice, named):
    assert ("callback" in name(f"callback={choice}")) is named
    assert "sample_images" not in name("~callback.sample_images")


def test_values_are_the_configurations_however_they_were_written():
    first = compose("optimizer.momentum=.5", "optimizer.nesterov=true", "model.widths=[8, 4]")
    second = compose("optimizer.momentum=5e-1", "optimizer.nesterov=True", "model.widths=[8,4]")
    expected = "loss=cross_entropy,lr=0.1,seed=0,widths=[8,4],momentum=0.5,nesterov=True"
    assert first.run.name == second.run.name == expected


def name(*overrides: str) -> str:
    watchers = {"watchers": ["histograms", "graph", "sample_images"]}
    return run_name.run_name("mse", 0.1, 0, overrides, _root_=OmegaConf.create(watchers))


def test_short_keys_that_would_be_ambiguous_stay_whole():
    assert (
        name("model.widths=[8]", "x.widths=1", "trainer.seed=3")
        == "loss=mse,lr=0.1,seed=0,model.widths=[8],trainer.seed=3,x.widths=1"
    )


@pytest.mark.parametrize("value", ["a/b", "a b", "é", "x'y", "a:b"])
def test_names_are_safe_as_file_names(value):
    assert name(f"model.tag={value}").isascii()
    assert not set(name(f"model.tag={value}")) & set("/ '\":")


def test_names_of_different_values_differ_even_where_they_are_encoded_or_cut():
    assert name("a=x/y") != name("a=x_y")
    long = [name(f"a={'é' * 100}{end}") for end in "xy"]
    assert long[0] != long[1]
    assert all(len(each) < 200 for each in long)


def test_hyperparameters_of_a_multirun_are_what_varies_in_it(monkeypatch):
    cfg = compose("model=linear", "optimizer.momentum=0.9")
    monkeypatch.setattr(run_name, "is_multirun", lambda: True)
    monkeypatch.setenv(SWEPT_KEYS, "optimizer.momentum,seed")
    assert list(run_name.swept_hparams(cfg)) == ["loss", "lr", "seed", "momentum"]


def test_what_varies_is_what_not_all_runs_of_a_grid_share():
    jobs = [["a=1", "+b=1", "~c"], ["a=2", "+b=1", "~c"], ["a=1", "+b=1", "d=0"]]
    assert swept_keys(jobs) == {"a", "c", "d"}
    assert swept_keys([]) == set()


def test_hyperparameters_are_typed_values():
    cfg = compose("loss=mse", "optimizer.lr=0.5", "model=cnn", "data.batch_size=32")
    assert run_name.swept_hparams(cfg) == {
        "loss": "mse",
        "lr": 0.5,
        "seed": 0,
        "batch_size": 32,
        "model": "cnn",
    }


@pytest.mark.parametrize("rate", ["-0.1", "nan", "inf", "fast", "null", "true"])
def test_a_learning_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match=r"expected optimizer\.lr to be a finite number"):
        check(f"optimizer.lr={rate}")


def test_zero_is_a_seed_and_a_learning_rate():
    check("seed=0", "optimizer.lr=0")


def test_a_parameter_that_a_component_does_not_take_is_named_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown parameter optimizer\.momentun; did you mean mom"
    ):
        check("+optimizer.momentun=0.9")


def test_a_misspelt_parameter_deep_in_a_callback_is_found():
    with pytest.raises(
        ValueError, match=r"unknown parameter callback\.best\.moniter; did you mean"
    ):
        check("+callback.best.moniter=val/loss")


def test_threads_are_at_least_one():
    with pytest.raises(ValueError, match="threads of at least 1, got 0"):
        check("threads=0")


def test_a_sweeps_name_is_one_folder():
    with pytest.raises(ValueError, match="name to be a folder's name"):
        check("name=a/b")


def test_seed_is_an_integer_and_never_null():
    from hydra.errors import ConfigCompositionException

    for seed in ("null", "abc", "0.5"):
        with pytest.raises(ConfigCompositionException, match="seed"):
            compose(f"seed={seed}")


def test_default_configuration_is_a_small_mlp_with_plain_sgd():
    cfg = compose()
    assert cfg.model.widths == [128, 64]
    assert cfg.data.batch_size == 64
    assert cfg.optimizer._target_ == "torch.optim.SGD"
    assert math.isclose(cfg.optimizer.lr, 0.1)
