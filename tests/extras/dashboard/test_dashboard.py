import functools
import os
import re
import signal
import socket
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runlab.analysis.comparison import Comparison
from runlab.analysis.rebuild import rebuild
from runlab.config.axes import Axes
from runlab.extras.dashboard import dashboard, servers
from runlab.extras.dashboard.aggregates import ChosenRun, read_chosen, write_aggregates
from runlab.extras.dashboard.dashboard import (
    Dashboard,
    SweepWatcher,
    fitting,
    link_concluded,
    newest_sweep,
)
from runlab.extras.dashboard.events import event_file, scalar
from runlab.extras.dashboard.servers import CHOSEN_PATTERN, arm_pattern, make_shortcuts
from runlab.runs import record
from tests.analysis.synthetic import keep_curves, write_run
from tests.commands import Commands
from tests.extras.dashboard.opened import SCRIPT, opened
from tests.extras.dashboard.test_aggregates import read


def add(sweep: Path, seed: int = 0, **rest) -> Path:
    folder = write_run(sweep, "mse", 0.1, seed, 0.9, **rest)
    keep_curves(folder, [0.8, 0.9])
    return folder


def arm_of(name: str, *axes: Axes) -> tuple[str, ...] | None:
    found = re.search(arm_pattern(axes or [Axes()]), name)
    return found and found.groups()


def test_runs_are_coloured_by_arm_whatever_its_name():
    mse, outputs = "loss=mse,lr=0.1,seed=0", "loss=mse_logits,lr=0.1,seed=0"
    assert arm_of(mse) == arm_of("loss=mse,lr=1e-05,seed=12") != arm_of(outputs)
    assert arm_of(f"{mse},model=cnn") == arm_of("loss=mse,lr=2,seed=1,model=cnn") != arm_of(mse)
    assert arm_of(f"first/{mse}") != arm_of(f"second/{mse}")
    assert arm_of("loss=a.b%2B(c),lr=0.1,seed=0") == (None, "a.b%2B(c)", "")


def test_runs_are_coloured_by_the_arms_that_they_name():
    modules, widths = Axes("module", "data.batch_size"), Axes("model.widths", None)
    assert arm_of("module=a,batch_size=8,seed=0", modules) == (None, "a", "")
    assert arm_of("module=a,seed=3", modules) == (None, "a", "")
    assert arm_of("widths=[8,4],seed=0,lr=1", widths) == (None, "[8,4]", ",lr=1")
    assert arm_of("s/module=a,seed=0", widths, modules) == ("s", "a", "")
    assert arm_of("seed=0,model=cnn", Axes(None, None)) == (None, ",model=cnn")


def test_a_short_address_carries_the_pattern_whole():
    url = urlsplit(make_shortcuts()["/all/curves"])
    assert parse_qs(url.query) == {
        "tagFilter": ["val/"],
        "smoothing": ["0"],
        "runColorGroup": [f"regex:{arm_pattern()}"],
    }
    assert (url.path, url.fragment) == ("/all/", "timeseries")


def test_a_chosen_run_has_the_colour_of_its_arms_mean():
    arms = [
        re.search(CHOSEN_PATTERN, name).groups()
        for name in ("mse", "mse, seed 0", "mse, seed -1", "mse, huber, seed 3", "s/mse, seed 0")
    ]
    assert arms == [("mse",), ("mse",), ("mse",), ("mse, huber",), ("s/mse",)]


def chosen(arm: str, seeds: int) -> list[ChosenRun]:
    return [ChosenRun(arm, seed, f"{arm}{seed}") for seed in range(seeds)]


def test_as_many_seeds_of_each_arm_are_shown_as_tensorboard_ticks():
    runs = [*chosen("a", 10), *chosen("b", 12)]
    assert fitting([runs], 22) == [runs]
    [kept] = fitting([runs], 19)
    assert kept == [*chosen("a", 9), *chosen("b", 9)]
    assert fitting([runs, chosen("c", 3)], 6) == [
        [*chosen("a", 2), *chosen("b", 2)],
        chosen("c", 2),
    ]
    assert fitting([runs], -1) == [[]]
    assert fitting([], 40) == []


@pytest.mark.usefixtures("_no_figures")
def test_what_is_concluded_is_linked_beside_the_chosen_runs(tmp_path):
    sweep, links = tmp_path / "logs" / "first", tmp_path / "links"
    for seed in (0, 1):
        add(sweep, seed)
        write_run(sweep, "mse", 10.0, seed, 0.1)
    folder = rebuild(sweep, outputs=[write_aggregates]).sweep.with_name("first.aggregates")
    for old in ("gone", "mse"):
        links.mkdir(exist_ok=True)
        (links / old).symlink_to(tmp_path)
    link_concluded([sweep], links)
    assert {path.name: path.readlink() for path in links.iterdir()} == {
        "comparison": folder / "comparison",
        "mse": folder / "mse",
        "mse, seed 0": sweep / "loss=mse,lr=0.1,seed=0",
        "mse, seed 1": sweep / "loss=mse,lr=0.1,seed=1",
    }


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"chosen": [["mse", 0, "../run"]]}'])
def test_chosen_runs_that_are_not_known_are_none(tmp_path, content):
    (tmp_path / "outcomes.json").write_text(content)
    assert read_chosen(tmp_path) == []


def test_the_newest_sweep_is_the_one_whose_record_was_written_last(tmp_path):
    first, second = (add(tmp_path / name) / "run.json" for name in ("first", "second"))
    os.utime(first, (2e9, 2e9))
    assert newest_sweep(tmp_path) == tmp_path / "first"
    os.utime(second, (3e9, 3e9))
    assert newest_sweep(tmp_path) == tmp_path / "second"


def test_no_sweep_is_said(tmp_path):
    with pytest.raises(ValueError, match=f"expected a sweep in {tmp_path}, got none: launch one"):
        newest_sweep(tmp_path)


def test_a_sweep_whose_first_run_has_not_begun_is_said(tmp_path):
    (tmp_path / "first" / "run" / ".hydra").mkdir(parents=True)
    with pytest.raises(
        ValueError, match=f"in {tmp_path}/first, got a sweep with no run that began"
    ):
        newest_sweep(tmp_path)


@pytest.fixture
def _no_pause(monkeypatch):
    monkeypatch.setattr(dashboard, "REBUILD_PAUSE", 0.0)
    monkeypatch.setattr(dashboard, "REBUILD_PAUSE_FACTOR", 0.0)


@pytest.mark.long
@pytest.mark.usefixtures("_no_figures", "_no_pause")
def test_aggregates_grow_as_runs_end_and_only_then(tmp_path, monkeypatch):
    sweep = tmp_path / "first"
    add(sweep)
    running = add(sweep, seed=1, status="running")
    built = []

    def counted(sweep: Path, **rest: Any) -> Comparison:
        built.append(sweep)
        return rebuild(sweep, **rest)

    monkeypatch.setattr(dashboard, "rebuild", counted)
    watcher = SweepWatcher(sweep)
    watcher.refresh()
    watcher.refresh()
    assert len(built) == 1
    os.utime(running / "run.json", (2e9, 2e9))  # an epoch later
    watcher.refresh()
    assert len(built) == 1
    finished = (running / "run.json").read_text().replace('"running"', '"finished"')
    (running / "run.json").write_text(finished)
    watcher.refresh()
    assert len(built) == 2
    SweepWatcher(sweep).refresh()  # another dashboard finds them as they should be
    assert len(built) == 2
    entry = record.read(running)
    record.write(running, entry | {"timing": {"latest": "2026-03-01T12:00:00+00:00"}})  # anew
    watcher.refresh()
    assert len(built) == 3


@pytest.mark.usefixtures("_no_figures")
def test_a_rebuild_is_followed_by_a_pause(tmp_path, monkeypatch):
    add(tmp_path / "first")
    watcher = SweepWatcher(tmp_path / "first")
    watcher.refresh()
    add(tmp_path / "first", seed=1)
    monkeypatch.setattr(dashboard, "rebuild", lambda sweep, **rest: pytest.fail("too early"))
    watcher.refresh()


@pytest.mark.usefixtures("_no_pause")
def test_what_is_in_the_way_is_said_once(tmp_path):
    add(tmp_path / "first")
    (tmp_path / "first" / "comparison").write_text("in the way")
    watcher = SweepWatcher(tmp_path / "first")
    assert "expected to write the comparison into" in watcher.refresh()
    add(tmp_path / "first", seed=1)
    assert watcher.refresh() == ""


def test_sweeps_of_one_name_are_refused(tmp_path):
    sweeps = [tmp_path / place / "first" for place in "ab"]
    with pytest.raises(ValueError, match="expected sweeps of different names, got first, first"):
        Dashboard(sweeps, 0, tmp_path)


@pytest.mark.long
def test_sweeps_side_by_side_until_it_is_told_to_end(tmp_path, commands):
    for name in ("first", "second"):
        add(tmp_path / "logs" / name)
        run = tmp_path / "logs" / name / "loss=mse,lr=0.1,seed=0"
        (run / "events.out.tfevents.0").write_bytes(event_file([scalar("val/accuracy", 0.9, 1)]))
    with opened(commands, "logs/first", "logs/second", home=tmp_path) as (process, shown):
        assert sorted(servers.runs_shown(f"{shown['all 2 runs']}/")) == [
            "first/loss=mse,lr=0.1,seed=0",
            "second/loss=mse,lr=0.1,seed=0",
        ]
        assert sorted(servers.runs_shown(shown["conclusion"])) == [
            *("first/comparison", "first/mse", "first/mse, seed 0"),
            *("second/comparison", "second/mse", "second/mse, seed 0"),
        ]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    with pytest.raises(OSError, match="refused"):
        servers.runs_shown(shown["conclusion"])
    assert read(tmp_path / "logs" / "first.aggregates" / "mse").Tags()["scalars"]


def test_only_a_tensorboard_that_has_something_to_read_is_waited_for(tmp_path, monkeypatch):
    run = add(tmp_path / "first", status="running")
    (run / "events.out.tfevents.0").write_bytes(event_file([scalar("val/accuracy", 0.9, 1)]))
    monkeypatch.setattr(servers, "start", lambda *_: "http://here/")
    waited = []
    monkeypatch.setattr(servers, "wait_for_runs", lambda url, seconds: waited.append(url))
    dashboard = Dashboard([tmp_path / "first"], 0, tmp_path)
    assert next(iter(dashboard.links)) == "curves of all runs"  # there is no conclusion to open on
    assert waited == ["http://here/all/"]


@pytest.mark.parametrize("port", ["-1", "65536", "many"])
def test_a_port_that_is_none_is_said(tmp_path, commands, port):
    process = commands.run(tmp_path, SCRIPT, f"--port={port}")
    assert process.returncode == 2
    assert f"from 0 to 65535, got {port}" in process.stderr


def refused(commands: Commands, *arguments: str, home: Path) -> str:
    process = commands.run(home, SCRIPT, *arguments, "--no-browser")
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    return process.stderr


def test_what_is_no_sweep_is_said_in_one_sentence(tmp_path, commands):
    sentence = refused(commands, "logs/first", home=tmp_path)
    assert sentence.startswith("expected the folder of a sweep, got ")


@pytest.mark.long
def test_a_port_in_use_is_said_in_one_sentence(tmp_path, commands):
    add(tmp_path / "logs" / "first", status="running")
    with socket.socket() as other:
        other.bind((servers.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        sentence = refused(commands, "--port", str(port), home=tmp_path)
    assert sentence.startswith(f"expected port {port} to be free, got one in use: ")


def test_no_proxy_stands_before_the_own_tensorboard(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "runs").write_text('["mse"]')
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with HTTPServer((servers.HOST, 0), handler) as server:
        threading.Thread(target=server.handle_request).start()
        assert servers.runs_shown(f"http://{servers.HOST}:{server.server_port}/") == ["mse"]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass
