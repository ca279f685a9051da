"""What TensorBoard is told of a run besides its curves, read as its dashboards read it."""

import math
import shlex
from datetime import datetime
from pathlib import Path

import lightning as L
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from runlab.runs import record
from runlab.train import train
from tests.compose import compose
from tests.runs.test_resume import STOP, Stop, curves

STATUSES = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE]
SHOWN_FIRST = ["best/accuracy", "best/epochs", "final/accuracy", "final/epochs", "test/accuracy"]


@pytest.fixture
def run(tmp_path, tiny):
    def train_in(folder, *overrides):
        (tmp_path / folder).mkdir(exist_ok=True, parents=True)
        return train(compose(*tiny, *overrides, folder=tmp_path / folder))

    return train_in


def hparams(sweep: Path):
    """What HParams' page is sent: the columns, and the sessions by their run's name."""
    events = EventMultiplexer().AddRunsFromDirectory(str(sweep))
    events.Reload()
    board = Context(TBContext(data_provider=MultiplexerDataProvider(events, str(sweep))))
    ctx = RequestContext()
    columns = board.experiment_from_metadata(ctx, "", True, board.hparams_metadata(ctx, ""), None)
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=STATUSES, start_index=0, slice_size=100
    )
    rows = list_session_groups.Handler(ctx, board, "", request).run().session_groups
    return columns, {row.sessions[0].name: row for row in rows}


def values(row) -> dict[str, float]:
    return {metric.name.tag: metric.value for metric in row.metric_values}


def events_of(folder: Path) -> list[tuple[str, int, str]]:
    """Tag, step and text, if it is one, of every event that is no scalar."""
    return [
        (value.tag, event.step, b"".join(value.tensor.string_val).decode())
        for path in sorted(folder.glob("events.out.tfevents.*"))
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name in ("text", "hparams")
    ]


def test_hparams_has_a_typed_column_for_whatever_any_run_of_a_sweep_overrides(run, tmp_path):
    run("a", "seed=1", "optimizer.momentum=0.9", "optimizer.nesterov=true")
    run("b", "loss=mse", "optimizer.lr=0.5", "trainer.gradient_clip_val=null")
    columns, rows = hparams(tmp_path)
    types = {column.name: column.type for column in columns.hparam_infos if column.differs}
    assert types == {
        "loss": api_pb2.DATA_TYPE_STRING,
        "lr": api_pb2.DATA_TYPE_FLOAT64,
        "seed": api_pb2.DATA_TYPE_FLOAT64,
    }
    shown = {column.name: column for column in columns.hparam_infos}
    assert (shown["lr"].domain_interval.min_value, shown["lr"].domain_interval.max_value) == (
        0.1,
        0.5,
    )
    assert rows["a"].hparams["nesterov"].bool_value is True
    assert rows["a"].hparams["momentum"].number_value == 0.9
    assert rows["b"].hparams["gradient_clip_val"].string_value == "null"
    assert rows["b"].hparams["loss"].string_value == "mse"


@pytest.mark.long
def test_the_first_rows_of_hparams_are_every_arms_first_seed(run, tmp_path):
    for loss, seed in (("mse", 0), ("cross_entropy", 0), ("cross_entropy", 1)):
        run(f"sweep/{loss}{seed}", f"loss={loss}", f"seed={seed}")
    run("other/mse0", "loss=mse", "seed=0")
    rows = hparams(tmp_path)[1]
    assert list(rows) == [
        "sweep/cross_entropy0",
        "other/mse0",
        "sweep/mse0",
        "sweep/cross_entropy1",
    ]
    assert all(len(row.sessions) == 1 for row in rows.values()), "HParams would show their mean"


@pytest.mark.parametrize(
    ("overrides", "status"),
    [
        (["trainer.max_epochs=3", "optimizer.lr=0.02"], "finished"),
        (["loss=mse_logits", "optimizer.lr=1e6"], "diverged"),
    ],
)
def test_the_metrics_that_hparams_shows_first_are_numbers_of_every_run(
    run, tmp_path, overrides, status
):
    entry = run("run", *overrides)
    assert entry["status"] == status
    columns, rows = hparams(tmp_path)
    assert [metric.name.tag for metric in columns.metric_infos][:5] == SHOWN_FIRST
    found = values(rows["run"])
    assert all(math.isfinite(found[tag]) for tag in SHOWN_FIRST)
    measures = {"accuracy", "nll", "brier", "ece", "loss"}
    assert {tag for tag in found if tag.startswith("test/")} == {f"test/{e}" for e in measures}
    metrics = entry["metrics"]
    assert found["best/accuracy"] == pytest.approx(metrics["val/accuracy"])
    assert found["test/accuracy"] == pytest.approx(metrics["test/accuracy"])
    assert found["final/accuracy"] == found["val/accuracy"], "the last point of the curve"
    assert found["final/epochs"] == metrics["epochs"]
    if status == "finished":
        assert found["best/epochs"] == metrics["best_epoch"] + 1
    [session] = rows["run"].sessions
    assert session.status == api_pb2.STATUS_SUCCESS
    assert session.start_time_secs == started(entry) <= session.end_time_secs


def started(entry) -> float:
    return datetime.fromisoformat(entry["timing"]["started"]).timestamp()


def test_a_run_that_fails_is_a_failed_session_and_one_that_is_stopped_has_no_end(run, tmp_path):
    with pytest.raises(RuntimeError, match="broken"):
        run("broken", "+callback.broken._target_=tests.loggers.test_hparams.Broken")
    Stop.at("epoch end", 0)
    with pytest.raises(SystemExit):
        run("stopped", STOP)
    rows = hparams(tmp_path)[1]
    assert rows["broken"].sessions[0].status == api_pb2.STATUS_FAILURE
    assert rows["stopped"].sessions[0].status == api_pb2.STATUS_UNKNOWN
    assert values(rows["stopped"])["val/accuracy"] > 0


class Broken(Stop):
    def on_train_epoch_end(self, trainer, pl_module):
        raise RuntimeError("broken")


class BrokenWithin(L.Callback):
    blocks_suffice = True

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 18:  # the third block of the second epoch is to come
            raise RuntimeError("broken")


def test_the_curve_of_a_run_that_fails_goes_as_far_as_it_trained(run, tmp_path):
    with pytest.raises(RuntimeError, match="broken"):
        run("broken", "+callback.broken._target_=tests.loggers.test_hparams.BrokenWithin")
    assert [step for step, _ in curves(tmp_path / "broken")["train/loss"]] == [4, 8, 10, 14, 18]


class Unreadable(L.Callback):
    blocks_suffice = True

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        def read(trainer):
            raise RuntimeError("the device failed")

        pl_module.metric_buffer.flush = read
        raise RuntimeError("the cause")


def test_a_failure_is_told_also_if_nothing_can_be_read_any_more(run, tmp_path, caplog):
    with pytest.raises(RuntimeError, match="the cause"):
        run("broken", "+callback.broken._target_=tests.loggers.test_hparams.Unreadable")
    assert record.read(tmp_path / "broken")["error"] == "the cause"
    assert "could not be read: the device failed" in caplog.text


def test_a_resumed_run_is_one_session_described_once(run, tmp_path):
    Stop.at("epoch end", 1)
    with pytest.raises(SystemExit):
        run("run", STOP, "trainer.max_epochs=3")
    entry = run("run", STOP, "trainer.max_epochs=3")
    assert entry["timing"]["resumed"] == 1
    found = events_of(tmp_path / "run")
    assert sorted(tag for tag, _, _ in found) == [
        "_hparams_/session_end_info", "_hparams_/session_start_info",
        "run/command", "run/comparison", "run/configuration", "run/provenance",
    ]  # fmt: skip
    assert {step for _, step, _ in found} == {0}
    [session] = hparams(tmp_path)[1]["run"].sessions
    assert session.start_time_secs == started(entry)


def test_the_text_holds_what_trains_the_run_again_and_what_it_ran_on(run, tmp_path, tiny):
    entry = run("run", "loss=mse", "name=first", "overwrite=true", "model.widths=[8]")
    text = {tag.removeprefix("run/"): text for tag, _, text in events_of(tmp_path / "run")}
    [command] = [line for line in text["command"].splitlines() if line.startswith("losslab ")]
    program, script, *overrides = shlex.split(command)
    assert (program, script) == ("losslab", "train")
    again = compose(*overrides, folder=tmp_path / "run")
    assert (again.name, again.overwrite) == ("first-again", False)
    assert train(again)["fingerprint"] == entry["fingerprint"]
    assert "widths:\n  - 8\n" in text["configuration"]
    for value in (entry["provenance"]["data"], entry["provenance"]["versions"]["torch"]):
        assert f"| {value} |" in text["provenance"]
    assert str(tmp_path / "comparison" / "comparison.html") in text["comparison"]
    assert record.read(tmp_path / "run")["status"] == "finished"
