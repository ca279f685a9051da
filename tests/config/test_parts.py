import pytest

from runlab.config.parts import named_parts, without_unused

ALONE = {"_target_": "tests.level_one.Shallow", "lr": 0.1}
CLASSIFIER = {"_target_": "losslab.Classifier", "num_classes": 10}
GROUPS = {"model": {}, "loss": {}, "optimizer": {}, "scheduler": None, "seed": 0}


def test_a_module_gets_the_parts_that_it_names_and_its_file_leaves_open():
    assert {"network", "loss", "optimizer", "scheduler"} <= named_parts(CLASSIFIER)
    assert "loss" not in named_parts({**CLASSIFIER, "loss": {}})
    assert named_parts(ALONE) == set()


def test_groups_that_a_module_takes_nothing_of_are_no_part_of_its_run():
    assert without_unused({**GROUPS, "module": ALONE}) == {"seed": 0, "module": ALONE}
    whole = {**GROUPS, "module": CLASSIFIER}
    assert without_unused(whole, ["loss=mse", "optimizer.lr=1"]) == whole


@pytest.mark.parametrize("override", ["loss=mse", "optimizer.lr=1", "+model.dropout=0.1"])
def test_overriding_such_a_group_is_refused(override):
    key = override.lstrip("+").partition("=")[0]
    with pytest.raises(ValueError, match=f"^expected no {key}, as tests.level_one.Shallow takes"):
        without_unused({**GROUPS, "module": ALONE}, ["seed=1", override])
