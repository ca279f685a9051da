"""All sweeps at one look: the page and the table of `scripts/index.py`."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from runlab.analysis.compare import compare
from runlab.analysis.rebuild import rebuild
from runlab.runs import record
from runlab.sweeps.index import index_table, to_index_page, write_index
from runlab.sweeps.summary import read_sweeps
from runlab.text import size_text
from tests.analysis.synthetic import write_run
from tests.analysis.test_page import Reader

HOSTILE = "<img src=x onerror=alert(1)> #?%\x1b[2J"


def began(run: Path, day: int, **changes: object) -> Path:
    entry = record.read(run)
    start = f"2026-03-{day:02d}T12:00:00+00:00"
    record.write(run, entry | {"timing": {"started": start, "latest": start}} | changes)
    return run


@pytest.fixture
def logs(tmp_path, monkeypatch) -> Path:
    """One sweep that is compared, then one that failed, one that trains, and one that is torn."""
    monkeypatch.setattr("runlab.analysis.write.draw_figures", lambda *_: {})
    logs = tmp_path / "logs"
    for seed in range(6):
        for place, loss in enumerate(("mse", "cross_entropy")):
            run = write_run(logs / "first", loss, 0.1, seed, 0.9 + place / 50 + seed / 1000)
            began(run, day=1)
    (run / "best.ckpt").write_bytes(b"0" * 1_200_000)
    rebuild(logs / "first")
    failed = write_run(logs / HOSTILE, "mse", 0.1, 0, status="failed")
    began(failed, day=2, error="a loss <b>with\x1b[2J markup")
    began(write_run(logs / "torn", "mse", 0.1, 0), day=3)
    (write_run(logs / "torn", "mse", 0.1, 1) / "run.json").write_text("{")
    (logs / "launched" / "run" / ".hydra").mkdir(parents=True)
    os.utime(logs / "launched", (1e9, 1e9))
    (logs / "first.aggregates" / "mse").mkdir(parents=True)
    return logs


def test_sweeps_are_listed_with_what_they_conclude_newest_first(logs):
    sweeps = read_sweeps(logs)
    assert [sweep.name for sweep in sweeps] == ["torn", HOSTILE, "first", "launched"]
    torn, failed, first, launched = sweeps
    assert first.verdicts == [card.headline for card in compare(logs / "first").cards]
    assert first.question == "Which loss: cross_entropy, mse? mnist, mlp, 3 epochs"
    assert (first.runs, first.ends, first.is_concluded) == (12, "", True)
    assert first.checkpoints == 1_200_000 < first.size
    assert (torn.runs, torn.ends) == (2, "1 unreadable")
    assert torn.verdicts == [f"Not compared yet: losslab compare {logs / 'torn'}"]
    assert failed.verdicts == ["Nothing has ended: a loss <b>with\x1b[2J markup"]
    assert (launched.runs, launched.verdicts) == (0, ["No run has begun"])


def test_a_conclusion_of_other_runs_says_so(logs):
    def told() -> tuple[str, bool]:
        [first] = [sweep for sweep in read_sweeps(logs) if sweep.name == "first"]
        return first.verdicts[-1], first.is_concluded

    compare = f"losslab compare {logs / 'first'}"
    shutil.rmtree(logs / "first" / "loss=mse,lr=0.1,seed=0")
    assert told() == (f"Since then 1 run disappeared: {compare}", False)
    write_run(logs / "first", "mse", 0.1, 6)  # as many as before
    began(logs / "first" / "loss=mse,lr=0.1,seed=1", day=2)
    changes = "1 run ended, 1 run ended again, 1 run disappeared"
    assert told() == (f"Since then {changes}: {compare}", False)
    rebuild(logs / "first")
    assert told()[1]


@pytest.mark.parametrize(
    "change", [{"ended": None}, {"ended": 12}, {"ended": [["run"]]}, {"chosen": [1]}, {"other": 1}]
)
def test_a_damaged_conclusion_is_none(logs, change):
    path = logs / "first" / "comparison" / "conclusion.json"
    content = json.loads(path.read_text())
    for damaged in ("", "[]", "{}", json.dumps(content | change)):
        path.write_text(damaged)
        [first] = [sweep for sweep in read_sweeps(logs) if sweep.name == "first"]
        expected = [f"Its conclusion can't be read: losslab compare {logs / 'first'}"]
        assert (first.verdicts, first.is_concluded) == (expected, False)


def test_a_run_that_no_comparison_can_use_makes_no_conclusion_old(logs):
    run = logs / "first" / "loss=mse,lr=0.1,seed=0"
    entry = record.read(run)
    entry["config"]["seed"] = None
    record.write(run, entry)
    rebuild(logs / "first")
    assert [sweep.is_concluded for sweep in read_sweeps(logs) if sweep.name == "first"] == [True]


def test_the_question_counts_its_epochs(logs):
    for run in record.folders(logs / "torn")[:1]:
        entry = record.read(run)
        entry["config"]["trainer"]["max_epochs"] = 1.0
        record.write(run, entry)
    [torn] = [sweep for sweep in read_sweeps(logs) if sweep.name == "torn"]
    assert torn.question.endswith(", 1 epoch")


def test_the_page_links_to_reports_and_obeys_no_name(logs):
    page = to_index_page(read_sweeps(logs))
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "img", "b"})
    links = re.findall('href="([^"]*)"', page)
    assert "first/comparison/comparison.html" in links
    assert "%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%20%23%3F%25%1B%5B2J/" in links
    assert "\x1b" not in page
    assert "default-src 'none'" in page


def test_the_terminal_gets_a_short_table(logs):
    lines = index_table(read_sweeps(logs))
    assert all(line.isprintable() and len(line) <= 100 for line in lines)
    [row] = [line for line in lines if line.startswith("first ")]
    assert re.fullmatch(r"first +2026-03-01 \d\d:00 +12 +2 MB", row)


def test_the_page_is_replaced_and_nothing_else_is(logs):
    path = write_index(logs, read_sweeps(logs))
    assert path == write_index(logs, read_sweeps(logs)) == logs / "index.html"
    path.write_text("<p>mine")
    with pytest.raises(ValueError, match=r"index\.html to be free, got a file that is no index"):
        write_index(logs, read_sweeps(logs))
    assert path.read_text() == "<p>mine"


def test_where_no_sweep_is_a_sentence_says_so(tmp_path):
    with pytest.raises(ValueError, match=f"expected sweeps in {tmp_path}, got none"):
        read_sweeps(tmp_path)
    with pytest.raises(ValueError, match="nowhere, which is not a folder"):
        read_sweeps(tmp_path / "nowhere")


def test_sizes_are_short():
    sizes = (0, 999, 1_000, 999_499, 999_500, 334_000_000, 2_340_000_000)
    shown = ["0 bytes", "999 bytes", "1 kB", "999 kB", "1 MB", "334 MB", "2.3 GB"]
    assert [*map(size_text, sizes)] == shown
