import json
import math
import os
from hashlib import sha256

import pytest

from runlab.config import fingerprint
from runlab.runs import provenance, record
from runlab.runs.lifecycle import new_record, resolved_config
from runlab.runs.record_rules import RULES
from tests.compose import compose

CONFIG = {
    "name": "one",
    "seed": 0,
    "data_dir": "data",
    "overwrite": False,
    "logger": {},
    "callback": {},
    "data": {"root": "data", "batch_size": 64},
    "optimizer": {"lr": 0.1},
}


ENTRY = {
    "status": "finished",
    "metrics": {"test/accuracy": 0.1 + 0.2},
    "timing": {},
    "overrides": [],
    "choices": {},
    "config": {},
    "fingerprint": "00",
    "measures": [],
    "provenance": {"git": None, "versions": {}, "hardware": None, "data": None},
}


def test_what_was_written_is_read(tmp_path):
    entry = ENTRY
    record.write(tmp_path, entry)
    assert record.read(tmp_path) == {"layout": record.LAYOUT} | entry
    assert os.listdir(tmp_path) == ["run.json"]


def test_numbers_that_are_not_finite_become_null_in_strict_json(tmp_path):
    record.write(tmp_path, {"status": "diverged", "metrics": {"a": math.nan, "b": [math.inf]}})
    text = (tmp_path / "run.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"] == {"a": None, "b": [None]}


def test_a_write_that_fails_leaves_the_old_record(tmp_path):
    record.write(tmp_path, ENTRY | {"status": "running"})
    with pytest.raises(TypeError):
        record.write(tmp_path, ENTRY | {"metrics": object()})
    assert record.read(tmp_path)["status"] == "running"


@pytest.mark.parametrize("content", ["", '{"status": "fin', "[]", '{"status": 3}', "\x00"])
def test_a_file_that_is_no_record_is_refused_by_name(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"expected a run record in .*run\.json, got"):
        record.read(tmp_path)


@pytest.mark.parametrize("layout", [{}, {"layout": 1}, {"layout": 3}])
def test_a_record_of_another_layout_is_refused_with_the_release_that_wrote_it(tmp_path, layout):
    old = layout | {"status": "finished", "provenance": {"versions": {"losslab": "0.1.0"}}}
    (tmp_path / "run.json").write_text(json.dumps(old))
    with pytest.raises(record.LayoutError, match=r"layout 2 in .*, which release 0\.1\.0 wrote"):
        record.read(tmp_path)


def test_callbacks_that_only_watch_are_no_part_of_what_a_run_is():
    with_callback = CONFIG | {"callback": {"histograms": {"count": 3}}}
    for watchers in ({"histograms": True}, ["histograms"]):  # a list: of an earlier release
        watched = with_callback | {"watchers": watchers}
        assert fingerprint.fingerprint(watched) == fingerprint.fingerprint(CONFIG)
    for watchers in ({"histograms": False}, {}, [], None):
        changing = with_callback | {"watchers": watchers}
        assert fingerprint.fingerprint(changing) != fingerprint.fingerprint(CONFIG)


def test_a_folder_without_a_record_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"run\.json, got no such file"):
        record.read(tmp_path)


def test_the_fingerprint_is_that_of_what_a_result_depends_on():
    elsewhere = CONFIG | {
        "name": "two",
        "data_dir": "/d",
        "data": {"root": "/d", "batch_size": 64},
        "logger": {"csv": {}},
    }
    assert fingerprint.fingerprint(CONFIG) == fingerprint.fingerprint(elsewhere)
    assert fingerprint.fingerprint(CONFIG) != fingerprint.fingerprint(CONFIG | {"seed": 1})


def of(value):
    return fingerprint.fingerprint(CONFIG | {"model": {"x": value}})


@pytest.mark.parametrize(
    ("first", "second"), [(1, 1.0), (0, -0.0), ([1, {"a": 2}], [1.0, {"a": 2.0}]), (10**16, 1e16)]
)
def test_the_same_value_written_otherwise_is_the_same_run(first, second):
    assert of(first) == of(second)
    one, other = (CONFIG | {"model": {"x": value}} for value in (first, second))
    assert fingerprint.difference(one, other) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, True),
        (0, False),
        (1, "1"),
        (None, "null"),
        (1, 1.5),
        (2**53 + 1, 2**53),
        ([1], 1),
    ],
)
def test_what_only_looks_alike_is_another_run(first, second):
    assert of(first) != of(second)
    one, other = (CONFIG | {"model": {"x": value}} for value in (first, second))
    assert fingerprint.difference(one, other) == [f"model.x: {first} -> {second}"]


def test_one_batch_and_all_batches_are_not_the_same_to_the_trainer():
    one, every = (CONFIG | {"trainer": {"limit_val_batches": value}} for value in (1, 1.0))
    assert fingerprint.fingerprint(one) != fingerprint.fingerprint(every)


@pytest.mark.parametrize("release", [0, 1])
def test_a_record_of_an_earlier_release_is_known_by_its_configuration(release):
    watched = {"callback": {"histograms": {"count": 3}}, "watchers": ["histograms"]}
    rate = {"optimizer": {"lr": 0.1, "weight_decay": 0.0}}
    config = CONFIG | watched | rate | {"gradient_clip": None}
    written = fingerprint.earlier_fingerprints(config)[release]
    assert written != fingerprint.fingerprint(config)
    old = {"fingerprint": written, "config": config}
    now = CONFIG | {"optimizer": {"lr": 0.1, "weight_decay": 0}, "watchers": {"curves": True}}
    assert fingerprint.is_of(old, now)
    assert not fingerprint.is_of(old, CONFIG)
    assert not fingerprint.is_of(old, now | {"gradient_clip": 1})
    assert not fingerprint.is_of(old | {"config": now}, now)  # it is not what was hashed


def test_the_hashes_of_earlier_releases_are_what_they_were():
    config = {"seed": 0, "gradient_clip": None, "model": {"width": 2.0}}
    assert fingerprint.earlier_fingerprints(config) == [
        sha256(b'{"gradient_clip": null, "model.width": 2.0, "seed": 0}').hexdigest(),
        sha256(b'{"gradient_clip": null, "model.width": 2, "seed": 0}').hexdigest(),
        sha256(b'{"model.width": 2, "seed": 0}').hexdigest(),
    ]


def with_measure(**measure):
    return CONFIG | {"metric": {"f1": {"_target_": "F1", "measure": measure}}}


def test_how_a_metric_is_shown_is_no_part_of_what_a_run_is():
    config = with_measure(title="F1", digits=2, tolerance=1.0, higher_is_better=True)
    shown = with_measure(title="macro-F1", unit="%", higher_is_better=True)
    other = with_measure(title="F1", digits=2, tolerance=1.0, higher_is_better=False)
    assert fingerprint.fingerprint(config) == fingerprint.fingerprint(shown)
    assert fingerprint.fingerprint(config) != fingerprint.fingerprint(other)
    old = {"fingerprint": fingerprint.earlier_fingerprints(config)[2], "config": config}
    assert old["fingerprint"] != fingerprint.fingerprint(config)
    assert fingerprint.is_of(old, shown)
    assert not fingerprint.is_of(old, other)


def test_a_top_level_key_that_is_null_says_the_same_as_none():
    for null in ({"scheduler": None}, {"new_in_a_later_release": None}):
        assert fingerprint.fingerprint(CONFIG | null) == fingerprint.fingerprint(CONFIG)
        assert fingerprint.difference(CONFIG | null, CONFIG) == []
    given = CONFIG | {"scheduler": {"_target_": "x"}}
    assert fingerprint.fingerprint(given) != fingerprint.fingerprint(CONFIG | {"scheduler": None})
    dropout = CONFIG | {"model": {"dropout": None}}  # whose default may be another
    assert fingerprint.fingerprint(dropout) != fingerprint.fingerprint(CONFIG | {"model": {}})


def test_a_record_that_lost_an_infinity_is_known_by_its_fingerprint():
    config = CONFIG | {"model": {"x": math.inf}}
    entry = {"fingerprint": fingerprint.fingerprint(config), "config": record.finite(config)}
    assert fingerprint.is_of(entry, config)
    assert not fingerprint.is_of(entry, CONFIG | {"model": {"x": None}})


def test_each_key_of_a_new_record_has_a_rule(tmp_path):
    cfg = compose(folder=tmp_path)
    entry = new_record(cfg, resolved_config(cfg))
    assert set(entry) <= {rule.key for rule in RULES}


def test_a_launch_that_is_none_is_refused(tmp_path):
    for launch, got in (({"swept": 5}, "without launch.id"), (["a"], "whose launch is")):
        record.write(tmp_path, ENTRY | {"launch": launch})
        with pytest.raises(ValueError, match=got):
            record.read(tmp_path)


def test_a_difference_names_each_value_that_changed():
    other = CONFIG | {"seed": 1, "optimizer": {"lr": 0.1, "momentum": 0.9}}
    assert fingerprint.difference(CONFIG, other) == [
        "optimizer.momentum: None -> 0.9",
        "seed: 0 -> 1",
    ]


def test_provenance_names_versions_hardware_and_code():
    facts = provenance.provenance({"accelerator": "cpu"})
    assert {"torch", "lightning", "python"} <= facts["versions"].keys()
    assert set(facts["git"]) == {"revision", "dirty"}
    assert facts["hardware"]["cpu"]
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize(
    ("trainer", "name"),
    [
        ({"accelerator": "auto", "devices": 1}, "GPU None"),
        ({"accelerator": "gpu", "devices": [1]}, "GPU 1"),
        ({"accelerator": "gpu", "devices": -1, "strategy": "ddp"}, "GPU None"),
        ({"accelerator": "cpu"}, None),
    ],
)
def test_the_gpu_of_a_record_is_the_one_that_is_trained_on(monkeypatch, trainer, name):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"GPU {device}")
    assert provenance.provenance(trainer)["hardware"]["gpu"] == name
