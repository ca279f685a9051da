import math

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from runlab.config import run_name, schema
from runlab.config.axes import ABSENT, value_at, without_value
from runlab.config.fingerprint import fingerprint
from runlab.config.messages import user_message
from runlab.config.run_name import SWEPT_KEYS
from runlab.runs.lifecycle import resolved_config
from runlab.sweeps.jobs import swept_keys
from tests.compose import compose


def check(*overrides: str) -> None:
    schema.check(OmegaConf.to_container(compose(*overrides), resolve=True))


def test_a_run_is_named_by_loss_rate_and_seed_whatever_the_order_of_overrides():
    first = compose("loss=mse", "optimizer.lr=0.1", "seed=3", "model=cnn")
    second = compose("model=cnn", "seed=3", "optimizer.lr=1e-1", "loss=mse")
    assert first.run.name == second.run.name == "loss=mse,lr=0.1,seed=3,model=cnn"


def test_a_run_without_overrides_is_named_by_its_defaults():
    assert compose().run.name == "loss=cross_entropy,lr=0.1,seed=0"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["comparison.arm=model", "loss=mse"], "model=mlp,lr=0.1,seed=0,loss=mse"),
        (["comparison.arm=module", "comparison.rate=data.batch_size", "optimizer.lr=0.5"],
         "module=classifier,batch_size=64,seed=0,lr=0.5"),
        (["comparison.arm=model.widths", "model.widths=[8, 4]", "comparison.rate=null"],
         "widths=[8,4],seed=0"),
        (["comparison.arm=null", "comparison.rate=module.lr", "loss=mse"], "seed=0,loss=mse"),
    ],
)  # fmt: skip
def test_what_is_compared_names_runs_and_their_hyperparameters(overrides, name):
    cfg = compose(*overrides)
    assert cfg.run.name == name
    hparams = run_name.swept_hparams(cfg)
    assert ",".join(f"{key}={value}" for key, value in hparams.items()) == name


def test_what_could_not_be_drawn_is_refused_before_a_run_begins():
    tuned = "comparison.rate=optimizer.weight_decay"
    check(tuned, "optimizer.weight_decay=0")
    with pytest.raises(
        ValueError, match=r"weight_decay to be 0, or from 1e-30 to 1e\+30, got 1e-40"
    ):
        check(tuned, "optimizer.weight_decay=1e-40")
    with pytest.raises(ValueError, match=r"expected comparison\.margin above 0, .*got 1e-40"):
        check("comparison.margin=1e-40")


def test_a_key_of_a_comparison_leads_into_lists():
    config = {"a": [{"b": 1}, {"b": None}], "c": 2}
    found = [value_at(config, key) for key in ("a.0.b", "a.1.b", "c")]
    assert found == [1, None, 2]
    for key in ("a.2.b", "a.b", "a.-1.b", "c.0", "d"):
        assert value_at(config, key) is ABSENT
    assert without_value(config, "a.0.b") == {"a": [{"b": None}, {"b": None}], "c": 2}


def test_what_is_compared_changes_no_result():
    first, other = compose(), compose("comparison.arm=model", "comparison.rate=null")
    assert first.run.name != other.run.name
    assert fingerprint(resolved_config(first)) == fingerprint(resolved_config(other))


@pytest.mark.parametrize(
    "keys", [("''", "null"), ("model", "seed"), ("optimizer.lr", "optimizer.lr")]
)
def test_keys_that_runs_cannot_be_compared_by_are_refused(keys):
    with pytest.raises(ValueError, match=r"expected comparison\.arm and comparison\.rate to name"):
        check(f"comparison.arm={keys[0]}", f"comparison.rate={keys[1]}")


def test_a_rate_is_a_number_and_need_not_be_there():
    with pytest.raises(ValueError, match=r"expected data\.batch_size to be a finite number"):
        check("comparison.rate=data.batch_size", "data.batch_size=many")
    check("comparison.rate=module.lr", "~optimizer.lr")


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
    return run_name.run_name(
        _root_=OmegaConf.create(
            {
                "watchers": {"histograms": True, "graph": True, "sample_images": True},
                "module": {"_target_": "losslab.Classifier"},
                "optimizer": {"lr": 0.1},
                "seed": 0,
                "run": {"choices": {"loss": "mse"}, "overrides": list(overrides)},
            }
        )
    )


def test_a_callbacks_own_file_says_that_it_only_watches():
    watched = compose("callback=[default,histograms]", "~callback.sample_images")
    assert watched.run.name == compose().run.name
    assert watched.watchers.histograms
    assert "sample_images" not in watched.callback
    assert compose("~callback.stop_on_divergence").run.name != compose().run.name


def test_short_keys_that_would_be_ambiguous_stay_whole():
    assert (
        name("model.widths=[8]", "x.widths=1", "trainer.seed=3")
        == "loss=mse,lr=0.1,seed=0,model.widths=[8],trainer.seed=3,x.widths=1"
    )


def test_a_class_that_is_added_is_named_by_its_place():
    added = ["+metric.auc._target_=m.AUROC", "+metric.auc.num_classes=10"]
    assert name(*added) == "loss=mse,lr=0.1,seed=0,metric.auc=m.AUROC,num_classes=10"
    several = name(*added, "+callback.mean._target_=c.Mean")
    assert several.endswith("seed=0,callback.mean=c.Mean,metric.auc=m.AUROC,num_classes=10")
    for others in ("optimizer._target_=o.Adam", "++optimizer._target_=o.Adam"):
        assert name(others) == "loss=mse,lr=0.1,seed=0,_target_=o.Adam"


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
    assert swept_keys([["a=1"], ["a=1.0"]]) == swept_keys([]) == set()


def test_hyperparameters_are_typed_values():
    cfg = compose("loss=mse", "optimizer.lr=0.5", "model=cnn", "data.batch_size=32")
    assert run_name.swept_hparams(cfg) == {
        "loss": "mse",
        "lr": 0.5,
        "seed": 0,
        "batch_size": 32,
        "model": "cnn",
    }


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize("count", [0, 1_000_000])
@pytest.mark.parametrize("key", ["threads", "data.num_workers", "trainer.devices"])
def test_a_number_of_threads_or_processes_is_one_that_a_machine_can_start(key, count):
    if (key, count) == ("data.num_workers", 0):
        return check("data.num_workers=0")
    with pytest.raises(ValueError, match=rf"expected {key} to be a whole number .* got {count}"):
        check(f"{key}={count}")


def test_threads_may_be_more_than_cores_for_they_decide_about_last_digits():
    check("threads=256", "data.num_workers=256", "trainer.devices=auto")


@pytest.mark.parametrize("name", ["mine", "1", "é b", "-x", "~", "CON", "...", "a=b,c", "x" * 180])
def test_a_sweeps_name_is_one_folders(name):
    assert run_name.sweep_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", " a", "a ", "a\nb", "a\0", "x" * 181, "é" * 91]
)
def test_a_name_that_no_folder_can_have_is_refused_where_hydra_computes_it(name):
    cfg = OmegaConf.create({"name": name, "dir": "logs/${sweep_name:${name}}"})
    with pytest.raises(InterpolationResolutionError) as error:
        _ = cfg.dir
    sentence = user_message(error.value)
    assert sentence.startswith("expected name to be a folder's name")
    assert sentence.endswith(f"got {name!r}")


@pytest.mark.long
@pytest.mark.parametrize(
    ("spellings", "part"),
    [
        (["optimizer.lr=1", "optimizer.lr=1.0", "optimizer.lr=1e0"], ",lr=1,seed=0"),
        (["model.widths=[128,64]", "model.widths=[128.0, 64]"], ",widths=[128,64]"),
        ([f"optimizer.weight_decay={zero}" for zero in ("0", "0.0", "-0.0")], ",weight_decay=0"),
        (["+trainer.limit_val_batches=1"], ",limit_val_batches=1"),
        (["+trainer.limit_val_batches=1.0"], ",limit_val_batches=1.0"),
    ],
)
def test_a_value_has_one_spelling_in_a_runs_name(spellings, part):
    [name] = {compose(each).run.name for each in spellings}
    assert name.endswith(part)


RATES = ("0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10")


@pytest.mark.long
@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "mse_logits"])
def test_the_names_of_the_shipped_comparison_are_those_that_its_readers_have(loss):
    for rate in RATES:
        cfg = compose("experiment=mse_vs_cross_entropy", f"loss={loss}", f"optimizer.lr={rate}")
        assert cfg.run.name == f"loss={loss},lr={rate},seed=0"


def test_an_experiment_is_in_a_runs_name_where_a_multirun_has_several(monkeypatch):
    assert "experiment" not in compose("experiment=speed").run.name
    monkeypatch.setattr(run_name, "is_multirun", lambda: True)
    monkeypatch.setenv(SWEPT_KEYS, "seed")
    assert "experiment" not in compose("experiment=speed", "seed=1").run.name
    monkeypatch.setenv(SWEPT_KEYS, "experiment,seed")
    assert compose("experiment=speed", "seed=2").run.name.endswith(",seed=2,experiment=speed")


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
