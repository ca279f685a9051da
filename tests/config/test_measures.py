"""Which measures a configuration declares, and what follows the primary one."""

import re

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torchmetrics.classification import MulticlassF1Score

from runlab.config import schema
from runlab.config.messages import USER_ERRORS, user_message
from runlab.measure import LOSS, Measure, build_metrics, declared_measures
from runlab.runs.lifecycle import resolved_config
from tests.compose import compose

MAE = "torchmetrics.regression.MeanAbsoluteError"
PEARSON = "torchmetrics.regression.PearsonCorrCoef"


def declared(*overrides: str) -> dict[str, Measure]:
    config = resolved_config(compose(*overrides))
    schema.check(config)
    return {each.name: each for each in declared_measures(config)}


def test_four_lines_of_yaml_declare_a_metric_and_torchmetrics_says_the_rest():
    measures = declared("metric=f1")
    assert [*measures] == ["accuracy", "nll", "brier", "ece", "loss", "f1"]
    assert measures["f1"] == Measure(
        "f1", "macro-F1", higher_is_better=True, best=1.0, tolerance=0.005
    )


def test_a_metric_may_be_written_inline_with_its_unit():
    inline = f"+metric.mae={{_target_:{MAE},measure:{{title:MAE,unit:cm,digits:1}}}}"
    expected = Measure("mae", "MAE", unit="cm", difference_unit="cm", digits=1, best=0.0)
    assert declared(inline)["mae"] == expected


def test_what_a_module_measures_may_be_shown_otherwise():
    shown = declared("+metric.accuracy.measure.digits=3")["accuracy"]
    assert (shown.digits, shown.unit, shown.higher_is_better) == (3, "%", True)


def test_a_module_that_declares_nothing_measures_its_loss():
    module = {"_target_": "lightning.pytorch.demos.boring_classes.BoringModel"}
    assert declared_measures({"module": module}) == (LOSS,)
    assert not LOSS.higher_is_better


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("tests.level_one.Shallow", 'its class: measures = (runlab.Measure("acc", "<title>"), …)'),
        ("losslab.regressor.Regressor", "add it by metric=…"),
    ],
)
def test_who_names_no_measure_is_told_how_that_module_gets_one(module, told):
    config = {"module": {"_target_": module}, "comparison": {"metric": "acc"}}
    with pytest.raises(ValueError, match=rf"got acc: .*{re.escape(told)}$"):
        declared_measures(config)


@pytest.mark.parametrize(
    ("overrides", "monitor", "mode"),
    [
        ([], "val/accuracy", "max"),
        (["metric=f1"], "val/accuracy", "max"),
        (["metric=[f1,recall]", "comparison.metric=f1"], "val/f1", "max"),
        (["comparison.metric=nll"], "val/nll", "min"),
    ],
)
def test_the_best_checkpoint_is_that_of_the_primary_measure(overrides, monitor, mode):
    config = resolved_config(compose(*overrides))
    best = config["callback"]["best"]
    assert (best["monitor"], best["mode"]) == (monitor, mode)
    assert f"val/{declared_measures(config)[0].name}" == monitor


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            [f"+metric.r={{_target_:{PEARSON}}}"],
            r"expected metric\.r\.measure\.higher_is_better=true or false, as .*PearsonCorrCoef",
        ),
        (
            ["comparison.metric=f1"],
            r"expected comparison\.metric to name what a run measures \(accuracy, nll, .*got f1",
        ),
        (["metric=f1", "+metric.f1.measure.digit=2"], r"unknown key metric\.f1\.measure\.digit"),
        (["metric=f1", "metric.f1.measure.title=3"], "expected a measure's title, got 3"),
        (
            [f"+metric.accuracy._target_={MAE}"],
            r"another name for metric\.accuracy: the module itself measures accuracy",
        ),
        (["+metric.f1.average=macro"], r"expected metric\.f1 with the _target_ of a metric"),
        (["comparison.margin=0"], r"expected comparison\.margin above 0, .* got 0"),
        (["+comparison.margin.f1=-1"], r"expected comparison\.margin\.f1 above 0, .* got -1"),
    ],
)
def test_what_a_metric_lacks_is_told_in_a_sentence(overrides, sentence):
    with pytest.raises(USER_ERRORS) as error:
        declared(*overrides)
    assert re.search(sentence, user_message(error.value))


def test_metrics_are_built_with_their_parameters_alone():
    built = build_metrics(compose("metric=f1", "+metric.nll.measure.digits=2"), instantiate)
    assert built is not None
    assert [*built] == ["f1"]
    assert isinstance(built["f1"], MulticlassF1Score)
    assert built["f1"].num_classes == 10
    assert build_metrics(compose(), instantiate) is None
    with pytest.raises(InstantiationException, match="Unexpected keyword arguments: `averag`"):
        build_metrics(compose("metric=f1", "+metric.f1.averag=macro"), instantiate)
    with pytest.raises(ValueError, match=r"expected metric\.f1\._target_ to make a Metric"):
        build_metrics({"metric": {"f1": {"_target_": "torch.nn.ReLU"}}}, instantiate)
