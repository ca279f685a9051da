import math
import os
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from runlab.analysis.compare import compare
from runlab.analysis.palette import Style, known_styles
from runlab.analysis.rebuild import rebuild
from runlab.extras.dashboard.aggregates import (
    aggregates_folder,
    order_by_color,
    run_name,
    write_aggregates,
)
from runlab.extras.dashboard.charts import rate_name
from runlab.extras.dashboard.events import event_file, replace_events, scalar
from runlab.sweeps.status import sweep_status
from tests.analysis.synthetic import ARM_STYLES, keep_curves, write_module_run, write_run
from tests.extras.dashboard.sections import COLUMN, EXPLANATION


def add(sweep: Path, loss: str, rate: float, seed: int, accuracies: list[float], **rest) -> Path:
    folder = write_run(
        sweep, loss, rate, seed, accuracies[-1], comparison={"sections": [EXPLANATION]}, **rest
    )
    keep_curves(folder, accuracies)
    header, *rows = (folder / "curves.csv").read_text().splitlines()
    lines = [f"{header},{COLUMN}", *(f"{row},0.5" for row in rows)]
    (folder / "curves.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms at two learning rates, two seeds; one run of mse diverged after its first epoch."""
    sweep = tmp_path_factory.mktemp("logs") / "first"
    for seed, more in enumerate((0.0, 0.02)):
        add(sweep, "cross_entropy", 0.1, seed, [0.90 + more, 0.94 + more])
        add(sweep, "cross_entropy", 1.0, seed, [0.80 + more, 0.82 + more])
        add(sweep, "mse", 0.1, seed, [0.50 + more, 0.60 + more])
    add(sweep, "mse", 1.0, 0, [0.70, 0.80])
    add(sweep, "mse", 1.0, 1, [0.30], status="diverged")
    return sweep


@pytest.fixture(scope="module")
def folder(sweep: Path) -> Path:
    return build(sweep)


def build(sweep: Path) -> Path:
    return aggregates_folder(rebuild(sweep, outputs=[write_aggregates]).sweep)


def read(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run), size_guidance={"tensors": 0}).Reload()


def points(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value, abs=1e-4)) for event in events.Scalars(tag)]


def text(events: EventAccumulator, tag: str) -> str:
    return events.Tensors(f"{tag}")[0].tensor_proto.string_val[0].decode()


def shown_layout(folder: Path) -> Layout:
    [event] = read(folder / "comparison").Tensors("custom_scalars__config__")
    return Layout.FromString(event.tensor_proto.string_val[0])


def test_they_lie_beside_the_sweep_with_a_run_for_each_arm(sweep, folder):
    assert folder == sweep.with_name("first.aggregates")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "comparison", "cross_entropy", "mse", "outcomes.json"),
    ]
    assert not list(sweep.rglob("*tfevents*"))


def test_a_band_is_the_mean_and_one_sd_within_the_range_of_the_runs(folder):
    events = read(folder / "cross_entropy")
    assert points(events, "val_accuracy/lr=0.1/mean") == [(100, 91.0), (200, 95.0)]
    # the sd of two values, 1.41, reaches beyond both
    assert points(events, "val_accuracy/lr=0.1/lower") == [(100, 90.0), (200, 94.0)]
    assert points(events, "val_accuracy/lr=0.1/upper") == [(100, 92.0), (200, 96.0)]
    assert points(events, "val_accuracy/chosen in first/mean") == [(100, 91.0), (200, 95.0)]


def test_from_where_a_run_diverged_the_mean_is_of_the_rest_and_the_title_says_so(sweep, folder):
    events = read(folder / "mse")
    assert points(events, "val_accuracy/lr=1/mean") == [(100, 50.0), (200, 80.0)]
    titles = [chart.title for chart in shown_layout(folder).category[1].chart]
    assert titles == ["lr=1 (first: mse 1 of 2 diverged)", "lr=0.1"]


def test_the_layout_begins_with_the_chosen_learning_rates(folder):
    first, *others = shown_layout(folder).category
    assert first.title == "At each arm's chosen learning rate (first: cross_entropy 0.1, mse 0.1)"
    assert [category.title for category in others] == [
        "Validation accuracy, %, at each learning rate",
        "Validation NLL, at each learning rate",
        "Gradient norm at the outputs, training, at each learning rate",
    ]
    assert [category.closed for category in (first, *others)] == [False, True, True, True]


def test_every_chart_of_the_layout_has_its_curves_in_every_arm(sweep, folder):
    tags = {arm: set(read(folder / arm).Tags()["scalars"]) for arm in ("cross_entropy", "mse")}
    assert tags["cross_entropy"] == tags["mse"]
    drawn = [
        tag
        for category in shown_layout(folder).category
        for chart in category.chart
        for series in chart.margin.series
        for tag in (series.value, series.lower, series.upper)
    ]
    assert set(drawn) == tags["mse"]
    assert len(drawn) == len(set(drawn))


def test_the_conclusion_and_its_tables_are_text_and_the_figures_images(sweep, folder):
    events = read(folder / "comparison")
    conclusion = text(events, "1_conclusion")
    assert compare(sweep).verdict in conclusion
    assert str(sweep / "comparison" / "comparison.html") in conclusion
    tables = text(events, "3_tables")
    assert tables.startswith("## Paired differences")
    assert "| cross_entropy |" in tables
    assert "- Held equal: " in tables
    assert "![" not in conclusion + tables
    assert events.Tags()["images"] == [
        *("comparison/1_paired", "comparison/2_sensitivity", "comparison/3_learning_curves"),
        *("comparison/4_gradients", "comparison/6_grid"),  # the fifth is landscape.py's
    ]
    [image] = events.Images("comparison/2_sensitivity")
    assert image.encoded_image_string == (sweep / "comparison" / "sensitivity.png").read_bytes()
    assert (image.width, image.height) == (1152, image.height)


@pytest.mark.usefixtures("_no_figures")
def test_a_figure_that_the_comparison_does_not_show_is_left_out(tmp_path):
    add(tmp_path / "first", "mse", 0.1, 0, [0.9])
    folder = build(tmp_path / "first")
    Image.new("RGB", (1, 1)).save(tmp_path / "first" / "comparison" / "landscape.png")
    build(tmp_path / "first")
    assert read(folder / "comparison").Tags()["images"] == []


def test_arms_come_in_the_order_in_which_tensorboard_gives_them_their_own_colours():
    known = known_styles(ARM_STYLES)
    arms = ["cross_entropy", "mse", "mse_logits", "other"]
    assert order_by_color(arms, known) == ["mse", "cross_entropy", "mse_logits", "other"]
    assert order_by_color(["cross_entropy", "mse_logits"], known) == ["cross_entropy", "mse_logits"]
    assert order_by_color(["b", "a"], {"a": Style("#cc1111", "o")}) == ["a", "b"]
    assert order_by_color(["b", "a"], {}) == ["b", "a"]


def replace(run: Path, value: float, *steps: int) -> None:
    replace_events(run, event_file(scalar("mean", value, step) for step in steps))


def test_a_reader_that_goes_on_sees_the_new_curves_and_nothing_of_the_old_ones(tmp_path):
    run = tmp_path / "mse"
    replace(run, 1.0, 100, 200)
    events = read(run)
    replace(run, 2.0, 100)
    assert points(events.Reload(), "mean") == [(100, 2.0)]
    replace(run, 3.0, 100, 200)
    replace(run, 4.0, 100, 200, 300)
    assert points(events.Reload(), "mean") == [(100, 4.0), (200, 4.0), (300, 4.0)]
    assert points(read(run), "mean") == [(100, 4.0), (200, 4.0), (300, 4.0)]


def test_emptied_files_go_when_no_reader_needs_them_any_more(tmp_path):
    for _ in range(3):
        replace(tmp_path, 1.0, 100)
    emptied = [path for path in tmp_path.iterdir() if not path.stat().st_size]
    assert len(emptied) == 2
    os.utime(emptied[0], (0, 0))
    replace(tmp_path, 1.0, 100)
    assert not emptied[0].exists()
    assert emptied[1].exists()


@pytest.mark.usefixtures("_no_figures")
def test_an_arm_that_is_no_more_goes_and_a_value_that_is_not_finite_is_none(tmp_path):
    sweep = tmp_path / "first"
    keep_curves(write_run(sweep, "mse", 1.0, 0), [math.nan, 0.8])
    gone = write_run(sweep, "cross_entropy", 1.0, 0)
    folder = build(sweep)
    assert points(read(folder / "mse"), "val_accuracy/lr=1/mean") == [(200, 80.0)]
    assert (folder / "cross_entropy").exists()
    (gone / "run.json").unlink()
    build(sweep)
    assert not (folder / "cross_entropy").exists()


@pytest.mark.usefixtures("_no_figures")
def test_no_more_arms_than_a_reader_can_take_in(tmp_path):
    for number in range(30):
        add(tmp_path / "many", f"loss_{number}", 0.1, 0, [0.9])
    assert len([path for path in build(tmp_path / "many").iterdir() if path.is_dir()]) == 12 + 1


def test_a_sweep_without_curves_has_its_figures_and_its_text(tmp_path):
    write_run(tmp_path / "bare", "mse", 0.1, 0)
    folder = build(tmp_path / "bare")
    assert not shown_layout(folder).category
    assert read(folder / "mse").Tags()["scalars"] == []
    assert "a single arm" in text(read(folder / "comparison"), "1_conclusion")


@pytest.mark.usefixtures("_no_figures")
def test_an_arm_with_signs_that_no_folder_may_have(tmp_path):
    for model in ("a/b", "c"):
        run = {"choices": {"loss": "mse", "model": model}, "name": model.replace("/", "_")}
        write_run(tmp_path / "odd", "mse", 0.1, 0, **run)
    assert (build(tmp_path / "odd") / "mse, model=a%2Fb").is_dir()


def test_no_command_takes_them_for_a_sweep(folder):
    for command in (compare, sweep_status):
        with pytest.raises(ValueError, match=r"expected folders with a run\.json in .*, got none"):
            command(folder)


@pytest.mark.long
@pytest.mark.usefixtures("_no_figures")
@pytest.mark.parametrize(
    "name",
    [
        *("loss=mse,lr=0.1,seed=0/run.json", "mine/notes.txt", "mine/deeper/events.out.tfevents.1"),
        *("mine/events.out.tfevents.1.host.2.0", "notes.txt", "README.md"),
    ],
)
def test_what_is_not_theirs_is_refused_before_anything_is_written(tmp_path, name):
    write_run(tmp_path / "first", "mse", 0.1, 0)
    folder = tmp_path / "first.aggregates"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("precious")
    with pytest.raises(ValueError, match=r"first\.aggregates to be free for .* move it, or rename"):
        build(tmp_path / "first")
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / name]
    assert (folder / name).read_text() == "precious"


@pytest.mark.usefixtures("_no_figures")
def test_what_a_killed_writer_left_is_theirs(tmp_path):
    write_run(tmp_path / "first", "mse", 0.1, 0)
    gone = tmp_path / "first.aggregates" / "gone"
    gone.mkdir(parents=True)
    (gone / ".events.out.tfevents.1.2.partial").touch()
    (gone.parent / ".README.md.2.partial").touch()
    build(tmp_path / "first")
    assert not gone.exists()


@pytest.mark.usefixtures("_no_figures")
def test_arms_of_which_nothing_is_tuned_are_drawn_once(tmp_path):
    for module in ("a", "b"):
        keep_curves(write_module_run(tmp_path / "modules", module, 0), [0.5, 0.9])
    folder = build(tmp_path / "modules")
    assert [each.title for each in shown_layout(folder).category] == ["Each arm (modules)"]
    assert {tag for tag in read(folder / "a").Tags()["scalars"] if "accuracy" in tag} == {
        f"val_accuracy/chosen in modules/{end}" for end in ("mean", "lower", "upper")
    }


def test_two_learning_rates_never_share_a_tag():
    assert rate_name("lr", 0.1) == "lr=0.1"
    assert rate_name("lr", 0.551547968468555) == "lr=0.551547968468555"


@pytest.mark.usefixtures("_no_figures")
def test_no_chart_of_chosen_learning_rates_draws_another_sweeps_arms(tmp_path, folder):
    add(tmp_path / "second", "mse", 0.1, 0, [0.9])
    drawn = [
        {
            series.value
            for chart in shown_layout(each).category[0].chart
            for series in chart.margin.series
        }
        for each in (folder, build(tmp_path / "second"))
    ]
    assert drawn[0].isdisjoint(drawn[1])


def test_arms_with_long_names_have_folders_of_their_own():
    first, second = (run_name(f"{'ä' * 200}{end}") for end in "ab")
    assert max(len(first), len(second)) < 255
    assert first != second


@pytest.mark.usefixtures("_no_figures")
def test_their_readme_says_where_a_sweep_elsewhere_lies(tmp_path, monkeypatch):
    sweep = tmp_path / "my logs" / "first"
    write_run(sweep, "mse", 0.1, 0)
    monkeypatch.chdir(tmp_path)
    about = (build(Path("my logs", "first")) / "README.md").read_text()
    assert f"losslab compare '{sweep}'`" in about
    assert f"losslab dashboard '{sweep}'`" in about
