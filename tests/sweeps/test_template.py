"""A template filled with one run's values after another's is what Hydra and OmegaConf make."""

import itertools
import math
from contextlib import contextmanager
from enum import Enum

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict, read_write

from runlab.config.run_name import plain, resolved
from runlab.sweeps.template import Resolution
from tests.sweeps.test_composition import SAME, WRONG, composer  # noqa: F401  # a fixture


class Kind(Enum):
    first = 1
    second = 2


def nodes(**changes):
    return {
        "seed": 0,
        "rate": 0.1,
        "name": "a",
        "data": {"seed": "${seed}", "shape": [1, "${seed}", {"deep": "${rate}"}]},
        "model": {"shape": "${data.shape}", "all": "${data}"},
        "path": "${name}/${seed}",
        "again": "${path} ${model.all.seed} ${model.all.shape.2.deep}",
        "through": "${model.all.seed}",
        "near": {"rate": "${..rate}", "one": "${data.shape[1]}", "named": "${data[${key}]}"},
        "key": "seed",
        "of_list": "${data.shape.2}",
        "escaped": r"\${seed}",
        "calculated": "${plus_one:${seed}}",
        "counted": "${count:}",
        "dotted.key": "${rate}",
        "nothing": None,
        "run": {"folder": r"\${run.folder}"},
        "inside": "${run.folder}/${name}",
        **changes,
    }


VALUES = [0, 1, -1, 1.0, True, "1", None, -0.0, 0.0, math.inf, Kind.first, Kind.second, "a b", "∂"]


@pytest.fixture(autouse=True)
def _resolvers():
    counter = itertools.count()
    OmegaConf.register_new_resolver("plus_one", lambda value: [value, 1], replace=True)
    OmegaConf.register_new_resolver("count", lambda: next(counter), use_cache=True, replace=True)


@pytest.mark.parametrize("keys", [("seed",), ("rate", "name"), ("seed", "rate", "name", "key")])
def test_values_after_any_others_are_resolved_as_if_they_were_the_first(keys):
    resolution, counted = Resolution(OmegaConf.create(nodes()), keys), set()
    for value in [*VALUES, *reversed(VALUES)]:
        given = {key: "shape" if key == "key" else value for key in keys}
        ours, theirs = resolution.of(given), plain(OmegaConf.create(nodes(**given)))
        counted |= {ours.pop("counted"), theirs.pop("counted")}
        assert repr(ours) == repr(theirs)
    assert len(counted) == 4 * len(VALUES), "a resolver is asked anew by each"


def test_what_was_resolved_is_not_changed_by_the_next_and_changes_none():
    resolution = Resolution(OmegaConf.create(nodes()), ["seed"])
    first, second = resolution.of({"seed": 1}), resolution.of({"seed": 2})
    first["data"]["shape"].append(9)
    del second["model"]
    assert first["seed"] == 1
    third = resolution.of({"seed": 3})
    assert third["data"]["shape"] == [1, 3, {"deep": 0.1}]
    assert third["model"]["shape"] == third["data"]["shape"]


def test_what_depends_on_none_of_the_values_is_not_resolved_again():
    varying = Resolution(OmegaConf.create(nodes()), ["seed"]).varying
    assert {("seed",), ("data", "seed"), ("path",), ("counted",)} <= varying
    assert not {("inside",), ("dotted.key",), ("data", "shape", 2, "deep")} & varying


@contextmanager
def hydras(composer, overrides, folder):  # noqa: F811
    """A run's configuration as its launcher makes it."""
    config = composer.by_hydra(overrides)
    before = HydraConfig.instance().cfg
    with read_write(config), read_write(config.hydra), open_dict(config):
        config.hydra.runtime.output_dir = str(folder)
        config.hydra.job.num, config.hydra.job.id = 0, "0"
        HydraConfig.instance().set_config(config)
        del config["hydra"]
    try:
        yield config
    finally:
        HydraConfig.instance().cfg = before


def others(overrides):
    """The same keys with other values, where they are simple."""
    made = {"seed": "9", "optimizer.lr": "0.0625", "name": "other", "comparison.margin": "0.5"}
    return [
        f"{key}={made.get(key, value)}" if value else key
        for key, _, value in (each.partition("=") for each in overrides)
    ]


LISTS = [
    ["model.widths=[3,4]", "seed=1"],
    ["model.widths=[3,4]", "seed=2"],
    ["model.widths=[5]", "seed=2"],
    ["scheduler={a: 1}", "seed=2"],
    ["parameter_groups=[{pattern: a, lr_scale: 1}]", "seed=3"],
    ["optimizer.lr=0.5", "optimizer={lr: 3}", "seed=1"],
    ["optimizer={lr: 3}", "optimizer.lr=0.5", "seed=1"],
    ["optimizer={lr: 4}", "optimizer.lr=0.25", "seed=2"],
]
RUNS = [*SAME, *map(others, SAME), *LISTS, *SAME, *LISTS]


def test_each_run_in_turn_is_what_hydra_composes(composer, tmp_path):  # noqa: F811
    for number, overrides in enumerate(RUNS):
        folder = tmp_path / str(number)
        with composer.template(overrides, folder).in_use() as template:
            ours = template.resolved()
            seen = OmegaConf.to_container(template.config)
            place = plain(template.config.run)
        with hydras(composer, overrides, folder) as config:
            assert repr(ours) == repr(resolved(config)), overrides
            assert seen == OmegaConf.to_container(config)
            assert place == plain(config.run)


def test_runs_that_differ_in_values_share_a_template(composer, tmp_path):  # noqa: F811
    one = composer.template(["loss=mse", "seed=1"], tmp_path)
    assert composer.template(["loss=mse", "seed=2"], tmp_path) is one
    assert composer.template(["loss=cross_entropy", "seed=2"], tmp_path) is not one
    assert composer.template(["loss=mse", "seed=2", "name=x"], tmp_path) is not one
    assert composer.template(["loss=mse", "model.widths=[3]"], tmp_path) is not composer.template(
        ["loss=mse", "model.widths=[3]"], tmp_path
    )


def test_lists_are_composed_once_and_leave_the_other_values_to_the_template(
    composer,  # noqa: F811
    monkeypatch,
    tmp_path,
):
    one = composer.template(["model.widths=[3,5]", "seed=1"], tmp_path)
    monkeypatch.setattr(composer, "by_hydra", lambda overrides: pytest.fail("composed again"))
    assert composer.template(["model.widths=[3,5]", "seed=2"], tmp_path) is one
    assert (one.config.model.widths, one.config.seed) == ([3, 5], 2)
    assert composer.template(["model.widths=[7]", "seed=2"], tmp_path).config.model.widths == [7]
    assert composer.template(["model.widths=[9]"], tmp_path).config.model.widths == [9]


@pytest.mark.parametrize("overrides", WRONG, ids=" ".join)
def test_what_hydra_refuses_is_refused_in_the_same_words(composer, overrides, tmp_path):  # noqa: F811
    composer.template(["seed=1"], tmp_path)
    with pytest.raises(HydraException) as ours:
        composer.template(overrides, tmp_path)
    with pytest.raises(HydraException) as theirs:
        composer.by_hydra(overrides)
    assert str(ours.value) == str(theirs.value)


def test_after_a_refused_value_the_next_run_has_all_of_its_own(composer, tmp_path):  # noqa: F811
    composer.template(["optimizer.lr=0.5", "seed=1"], tmp_path)
    with pytest.raises(HydraException):
        composer.template(["optimizer.lr=7", "seed=abc"], tmp_path)
    assert composer.template(["optimizer.lr=0.25", "seed=2"], tmp_path).config.optimizer.lr == 0.25
