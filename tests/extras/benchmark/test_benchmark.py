import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn
from torch.optim import SGD

import runlab.extras.benchmark  # noqa: F401  registers the schema
from losslab.losses import CrossEntropy
from losslab.models import MLP, Linear
from runlab.callbacks import GradientNorm
from runlab.extras.benchmark import arithmetic, random_images, report, task
from runlab.extras.benchmark.arithmetic import Copy, Matmul, step_bytes, step_flops
from runlab.extras.benchmark.baselines import (
    Bare,
    Stopwatch,
    Template,
    rotated,
    run_interleaved,
    torch_settings_restored,
)
from runlab.extras.benchmark.figure import scaling_figure
from runlab.extras.benchmark.fresh_process import training_overrides
from runlab.extras.benchmark.results import Memory, Results, StackTimes, spread
from runlab.extras.benchmark.stacked import (
    Clocked,
    MemberStopwatch,
    Stacked,
    Timed,
    all_ended,
    seconds_of_all,
    timed,
)
from tests.compose import CONF, compose

CPU = torch.device("cpu")
TINY = (
    "random_images=true",
    "data.train_size=640",
    "data.val_size=64",
    "data.batch_size=32",  # 20 steps an epoch
    "data.steps_per_execution=8",  # of which the last block has 4
    "startups=0",
    "memory=false",
)


def composed(*overrides: str) -> DictConfig:
    """What `scripts/benchmark.py` with these overrides hands to `benchmark`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra_compose("benchmark", overrides=list(overrides), return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.mode = "RUN"
        cfg.hydra.runtime.output_dir = "nowhere"
    HydraConfig.instance().set_config(cfg)
    cfg = cfg.copy()
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


@pytest.fixture(autouse=True)
def process_settings() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch_settings_restored():
        torch.use_deterministic_algorithms(False)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def cfg(tmp_path: Path) -> DictConfig:
    """A tiny benchmark whose data are written."""
    cfg = composed(*TINY)
    cfg.run.folder = str(tmp_path / "run")
    random_images.write(cfg, tmp_path)
    return cfg


@pytest.fixture
def baselines(cfg: DictConfig) -> tuple[Bare, Template]:
    data = task.as_tensors(cfg)
    return task.bare_loop(cfg, data, CPU), Template(cfg, data.steps_per_epoch)


RESULTS = Results(
    descriptions={"bare loop": "by hand", "losslab": "ours", "other": "theirs"},
    seconds={
        "bare loop": [100e-6, 200e-6, 400e-6],
        "losslab": [150e-6, 200e-6, 800e-6],
        "other": [0.01, 0.03, 0.02],
    },
    rounds=3,
    steps=859,
    batch_size=64,
    stacks={},
    spent={},
    memory={},
    step_flops=10_000_000,
    step_bytes=2_000_000,
    place=dict.fromkeys(("bare loop", "losslab", "other"), "1 thread"),
    flops={"1 thread": 100e9},
    copied={"1 thread": 40e9},
    outside_training=[0.5, 0.25, 1.0],
    startups=[{"import torch": 1.5, "compose": 0.25}],
    settings={
        "network": "MLP of 5 parameters",
        "loss": "CrossEntropy",
        "optimizer": "SGD",
        "data": "MNIST",
        "precision": "float32",
        "device": "cpu",
        "threads": "1 thread",
    },
    provenance={
        "hardware": {"cpu": "Abacus", "cores": 2, "gpu": None, "platform": "Desk"},
        "versions": {"python": "3.11", "torch": "2.15"},
        "git": {"revision": None, "dirty": None},
    },
)

SPENT = StackTimes(computing=60e-6, looping=30e-6, rest=10e-6)
SCALING = replace(
    RESULTS,
    seconds=RESULTS.seconds | {"two": [90e-6, 100e-6, 200e-6], "ten": [50e-6, 40e-6, 60e-6]},
    stacks={"two": 2, "ten": 10},
    spent={"two": [SPENT] * 3, "ten": [SPENT] * 3},
    memory={"two": Memory(2**30, 2**30 + 2**25), "ten": Memory(None, None)},
    place=RESULTS.place | {"two": "2 threads", "ten": "2 threads"},
    flops=RESULTS.flops | {"2 threads": 200e9},
    copied=RESULTS.copied | {"2 threads": 50e9},
)
"""As `RESULTS`, with two runs and ten that train together."""


def test_flops_of_an_mlp_step_are_those_counted_by_hand():
    images, labels = torch.rand(64, 1, 28, 28), torch.zeros(64, dtype=torch.long)
    weights, first = 784 * 128 + 128 * 64 + 64 * 10, 784 * 128
    counted = step_flops(MLP([1, 28, 28], 10), CrossEntropy(), images, labels)
    assert counted == 6 * weights * 64 - 2 * first * 64 == 29_081_600


def test_flops_of_a_single_layer_are_two_thirds_of_six_a_weight():
    images, labels = torch.rand(8, 1, 28, 28), torch.zeros(8, dtype=torch.long)
    assert step_flops(Linear([1, 28, 28], 10), CrossEntropy(), images, labels) == 4 * 7840 * 8


def test_counting_flops_leaves_the_network_without_gradients():
    network = Linear([1, 4, 4], 3)
    step_flops(network, CrossEntropy(), torch.rand(2, 1, 4, 4), torch.tensor([0, 1]))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_bytes_of_an_mlp_step_are_those_of_the_formula():
    images, labels = torch.rand(64, 1, 28, 28), torch.zeros(64, dtype=torch.long)
    parameters, not_first = 109_386, 128 * 64 + 64 * 10
    counted = step_bytes(MLP([1, 28, 28], 10), CrossEntropy(), SGD, images, labels)
    assert counted == 4 * (4 * parameters + not_first + 2 * 64 * 784)


def test_bytes_of_a_step_grow_by_the_optimizers_state_read_and_written():
    images, labels, parameters = torch.rand(8, 1, 4, 4), torch.zeros(8, dtype=torch.long), 17 * 10
    counted = [
        step_bytes(Linear([1, 4, 4], 10), CrossEntropy(), each, images, labels)
        for each in (SGD, partial(SGD, momentum=0.9))
    ]
    assert counted == [4 * (4 * parameters + 2 * 8 * 16), 4 * (6 * parameters + 2 * 8 * 16)]


def test_frozen_parameters_are_read_and_no_more():
    network, labels = Linear([1, 4, 4], 10), torch.zeros(8, dtype=torch.long)
    whole = step_bytes(network, CrossEntropy(), SGD, torch.rand(8, 1, 4, 4), labels)
    [_, bias] = network.parameters()
    bias.requires_grad_(False)
    less = step_bytes(network, CrossEntropy(), SGD, torch.rand(8, 1, 4, 4), labels)
    assert whole - less == 3 * bias.nbytes
    assert all(parameter.grad is None for parameter in network.parameters())


def test_peak_is_a_rate_that_this_machine_can_have():
    assert 1e6 < Matmul(CPU, torch.float32, size=64).per_second(attempts=3) < 1e16
    assert 1e6 < Copy(CPU, size=4096).per_second(attempts=3) < 1e16


def test_a_peak_on_more_threads_leaves_their_number_as_it_was():
    Matmul(CPU, torch.float32, size=8).per_second(threads=2, attempts=1)
    assert torch.get_num_threads() == 1


def test_a_machine_keeps_the_best_of_each_place_and_of_fewer_threads(monkeypatch):
    monkeypatch.setattr(arithmetic, "Matmul", lambda *_: Rates([3.0, 5.0, 4.0, 1.0]))
    monkeypatch.setattr(arithmetic, "Copy", lambda *_: Rates([8.0, 6.0, 7.0, 5.0]))
    limits = arithmetic.Machine(CPU, torch.float32, threads=[1, 2])
    limits.measure()
    limits.measure()
    assert limits.flops == {"1 thread": 4.0, "2 threads": 5.0}
    assert limits.copied == {"1 thread": 8.0, "2 threads": 8.0}


class Rates:
    def __init__(self, rates: list[float]) -> None:
        self.rates = iter(rates)

    def per_second(self, threads: int) -> float:
        return next(self.rates)


def test_threads_of_the_cpu_are_no_matter_to_another_device():
    limits = [arithmetic.device_name(torch.device("cuda", 0), threads) for threads in (1, 16)]
    assert limits == ["cuda:0", "cuda:0"]


def test_ratios_compare_each_round_with_itself():
    assert RESULTS.ratios("losslab", "bare loop") == pytest.approx((1.5, 1.0, 2.0))
    assert RESULTS.ratios("losslab", "losslab") == (1.0, 1.0, 1.0)


def test_spread_is_median_least_and_most():
    assert spread([5.0, 1.0, 2.0]) == (2.0, 1.0, 5.0)


def test_share_of_peak_is_the_arithmetic_alone_over_the_median_step():
    assert RESULTS.arithmetic("losslab") == pytest.approx(100e-6)
    assert RESULTS.traffic("losslab") == pytest.approx(50e-6)
    assert RESULTS.share_of_peak("bare loop") == pytest.approx(0.5)
    assert RESULTS.samples_per_second("bare loop") == pytest.approx(320_000)


def test_terminal_table_has_these_rows():
    text = report.terminal(RESULTS).split("\n\n")[1].splitlines()
    assert [line.split("  ") for line in map(squeezed, text)] == [
        ["µs per step", "samples/s", "× bare loop", "× losslab", "of peak"],
        ["-" * len(text[1])],
        ["bare loop", "200 [100, 400]", "320,000", "1.00", "0.67 [0.50, 1.00]", "50.0%"],
        ["losslab", "200 [150, 800]", "320,000", "1.50 [1.00, 2.00]", "1.00", "50.0%"],
        [
            "other",
            "20000 [10000, 30000]",
            "3,200",
            "100 [50.0, 150]",
            "66.7 [25.0, 150]",
            "0.5%",
        ],
    ]


def squeezed(line: str) -> str:
    """Columns parted by two spaces, however many there are."""
    while "   " in line:
        line = line.replace("   ", "  ")
    return line.strip()


def test_terminal_lines_are_at_most_100_wide():
    assert max(map(len, report.terminal(SCALING).splitlines())) <= 100


def test_runs_that_train_together_have_a_table_of_their_own():
    text = report.markdown(SCALING)
    assert (
        "| runs | µs per step | × losslab | of peak | computing | loops | rest | MiB | per run |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| 2 | 100 [90.0, 200] | 0.50 [0.25, 0.60] | 50.0% | 60.0 | 30.0 | 10.0 | 1056 | 32.0 |\n"
        "| 10 | 50.0 [40.0, 60.0] | 0.20 [0.07, 0.33] | 100.0% | 60.0 | 30.0 | 10.0 | – | – |\n"
    ) in text
    assert "trains them (2 threads; 10 runs or more shared out among processes)" in text
    assert "| two |" not in text
    assert "- two:" not in text
    assert "Runs that train together" not in report.markdown(RESULTS)


def test_what_a_run_adds_is_known_of_two_or_more():
    assert Memory(alone=100, together=400).further_run(4) == 100
    assert Memory(alone=100, together=120).further_run(1) is None
    assert Memory(alone=None, together=None).further_run(4) is None


def test_scaling_figure_shows_time_against_runs_beside_levels_and_floors():
    [axes] = scaling_figure(SCALING).axes
    together, *levels = axes.get_lines()
    assert together.get_xdata().tolist() == [2, 10]
    assert together.get_ydata() == pytest.approx([100, 50])
    assert [line.get_ydata()[0] for line in levels] == pytest.approx([200, 200, 50, 40])
    assert [line.get_label() for line in levels] == [
        *("losslab, one run alone, 200 µs", "bare loop, 200 µs"),
        *(
            "floor: arithmetic alone, at peak, 50.0 µs",
            "floor: bytes alone, at a copy's rate, 40.0 µs",
        ),
    ]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    low, high = axes.get_ylim()
    assert low < 40
    assert high > 800  # losslab's slowest round
    assert axes.get_ylabel() == "µs for a step of one run"


def test_markdown_says_what_was_measured_where():
    text = report.markdown(RESULTS)
    assert "over 3 rounds of 859 steps" in text
    assert "| losslab | 200 [150, 800] | 320,000 | 1.50 [1.00, 2.00] | 1.00 | 50.0% |" in text
    assert "10.0 MFLOP of float32, which" in text
    assert "take 100 µs on 1 thread (100.0 GFLOP/s)" in text
    assert "2.0 MB read or written, which" in text
    assert "take 50.0 µs on 1 thread (40.0 GB/s); less" in text
    assert "(100.0 GFLOP/s) or 50.0 µs on 2 threads (200.0 GFLOP/s)" in report.markdown(SCALING)
    assert "once a run: 0.50 [0.25, 1.00] s" in text
    assert "| together | 1.75 |" in text
    assert "- hardware: Abacus, 2 cores, Desk\n" in text
    assert "- versions: python 3.11, torch 2.15\n- revision: not recorded\n" in text


@pytest.mark.parametrize("steps", [8, 20, 40])  # a block, an epoch, two epochs
def test_losslab_and_the_bare_loop_end_with_equal_weights(baselines, steps):
    bare, losslab = baselines
    assert bare.run(steps) > 0
    assert losslab.run(steps) > 0
    for ours, theirs, initial in zip(
        losslab.network.parameters(),
        bare.network.parameters(),
        bare.initial.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
        assert not torch.equal(ours, initial)


def test_every_run_of_a_contestant_starts_alike(baselines):
    for baseline in baselines:
        weights = []
        for _ in range(2):
            baseline.run(8)
            weights.append(nn.utils.parameters_to_vector(baseline.network.parameters()))
        assert torch.equal(*weights)


def test_lightning_with_a_data_loader_takes_the_steps_that_it_is_given(cfg):
    other = task.with_data_loader(cfg, task.as_tensors(cfg), workers=0)
    calls = []
    other.loss.register_forward_hook(lambda *_: calls.append(1))
    assert other.run(25) > 0  # its epochs have 22: all official training images
    assert len(calls) == 25


def test_steps_are_whole_epochs_or_whole_blocks_of_one(baselines):
    _, losslab = baselines
    assert losslab.length(60) == (3, 1.0)
    assert losslab.length(16) == (1, 2)
    for steps in (4, 21, 39):
        with pytest.raises(ValueError, match=rf"epochs of 20, or .* blocks of 8 .* got {steps}$"):
            losslab.length(steps)


def test_a_stopwatch_refuses_a_training_that_ended_early():
    stopwatch = Stopwatch()
    stopwatch.steps = 3
    with pytest.raises(ValueError, match="expected 4 optimizer steps, got 3"):
        stopwatch.seconds_per_step(4)


def test_everyone_goes_first_in_turn():
    assert [rotated("abc", number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_a_new_baseline_is_a_name_a_description_and_a_run():
    class Constant:
        name = "constant"
        description = "does nothing, in always the same time"

        def run(self, steps: int) -> float:
            torch.use_deterministic_algorithms(True)
            return 1 / steps

    rounds = []
    seconds = run_interleaved([Constant()], lambda: rounds.append(1), steps=4, rounds=3)
    assert seconds == {"constant": [0.25, 0.25, 0.25]}
    assert len(rounds) == 3
    assert not torch.are_deterministic_algorithms_enabled()


def test_determinism_ends_with_the_contestant_that_asked_for_it():
    with torch_settings_restored():
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = True
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark


def test_benchmark_prints_and_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = ("json=raw.json", "markdown=table.md", "figure=scaling.svg")
    results = task.benchmark(composed(*TINY, *files, "rounds=2", "stacks=[1,2]"))
    assert {path.name for path in tmp_path.iterdir()} == {"raw.json", "table.md", "scaling.svg"}
    assert Path("scaling.svg").read_text().startswith("<?xml")
    raw = json.loads(Path("raw.json").read_text())
    assert list(raw["seconds"]) == [
        *("bare loop", "losslab", "losslab, 1 run stacked", "losslab, 2 runs stacked"),
        "Lightning, 0 workers",
    ]
    assert raw["stacks"] == {"losslab, 1 run stacked": 1, "losslab, 2 runs stacked": 2}
    for name, spent in raw["spent"].items():
        assert [sum(each.values()) for each in spent] == pytest.approx(raw["seconds"][name])
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in raw["seconds"].values())
    assert raw["seconds"] == results.seconds
    assert raw["steps"] == 20
    assert Path("table.md").read_text() == report.markdown(results)
    assert capsys.readouterr().out == report.terminal(results) + "\n"
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.long
def test_a_fresh_process_reaches_its_first_step_with_the_same_overrides(cfg):
    stages = task.first_step(cfg)
    assert list(stages)[:3] == ["start Python", "import torch", "import lightning"]
    assert list(stages)[-1] == "first block of steps"
    assert min(stages.values()) > 0


def test_a_fresh_process_gets_the_overrides_that_training_knows():
    composed("model=cnn", "rounds=3", "data.batch_size=8", "+trainer.precision=32", "workers=[2]")
    expected = ["model=cnn", "data.batch_size=8", "+trainer.precision=32"]
    assert training_overrides() == expected


@pytest.mark.long
def test_a_fresh_process_tells_what_further_runs_add_to_its_memory(cfg):
    memory = task.memory(cfg, runs=3)
    if sys.platform != "linux":
        assert memory == Memory(None, None)
        return
    assert 0 < memory.alone <= memory.together < 2**40


def test_what_is_timed_is_what_is_trained():
    training = OmegaConf.to_container(compose(), resolve=False)
    timed = OmegaConf.to_container(composed(), resolve=False)
    assert {key: timed[key] for key in training} == training | {"name": "benchmark"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rounds=0", "expected rounds of at least 1, got 0"),
        ("steps=0", "expected steps of at least 1, or null for an epoch, got 0"),
        ("startups=-1", "expected startups of at least 0, got -1"),
        ("workers=[0,-1]", "expected workers of at least 0 each"),
        ("scheduler=cosine", "expected scheduler=none"),
        ("gradient_clip=1", "expected scheduler=none and gradient_clip=null"),
        ("json=/no/such/folder/raw.json", "expected json in a folder that exists"),
        ("figure=/no/such/folder/scaling.png", "expected figure in a folder that exists"),
        ("figure=scaling.pdf", r"expected figure to end in \.png or \.svg, got scaling\.pdf"),
        ("figure=scaling.png", r"expected two stack sizes or more for a figure .* got \[20\]"),
        ("stacks=[2,2]", r"expected stacks of different sizes, got \[2, 2\]"),
        ("threads=0", "expected threads of at least 1"),
        ("trainer=ddp_sim", "expected a trainer with one device"),
        ("+trainer.precision=64", "precision 32-true or bf16-mixed, got 1 of precision 64-true"),
    ],
)
def test_a_value_that_cannot_be_timed_is_refused_before_anything_is(override, message):
    with pytest.raises(ValueError, match=message):
        task.benchmark(composed(*TINY, override))


def test_stacked_runs_take_the_steps_that_they_are_given_and_end_as_one_does_alone(
    cfg,
):
    stacked = Stacked(cfg, steps_per_epoch=20, runs=2, device=CPU)
    assert stacked.name == "losslab, 2 runs stacked"
    assert 0 < stacked.run(20) < 1
    cfg.seed = 1  # the last of the two
    single = Template(cfg, 20)
    single.run(20)
    ends = (stacked.alone.network.parameters(), single.network.parameters())
    for together, by_itself in zip(*ends, strict=True):
        torch.testing.assert_close(together, by_itself, rtol=1e-3, atol=1e-4)


def test_time_together_is_that_of_all_runs_without_their_validations():
    watches = []
    for started, ended, trained in ((0, 9, 7), (1, 10, 8)):  # validated for 2 and for 1
        watch = MemberStopwatch()
        watch.started, watch.ended, watch.seconds, watch.steps = started, ended, trained, 5
        watch.waiting, watch.alone = Clocked(abs, CPU), Clocked(abs, CPU)
        watches.append(watch)
    stack = timed(watches, Clocked(abs, CPU), steps=5)
    assert (stack.ready, stack.ended, stack.validating) == (1, 10, 3)
    assert seconds_of_all([stack]) == 10 - 1 - 3


def test_time_of_several_stacks_is_from_the_first_start_to_the_last_end():
    first = Timed(ready=1, ended=10, computing=5, looping=1, validating=2)
    later = Timed(ready=2, ended=12, computing=6, looping=1, validating=3)
    assert seconds_of_all([first, later]) == 12 - 1 - 2


@pytest.mark.long
def test_twenty_runs_on_two_cores_train_as_two_stacks_at_once(cfg, capfd):
    stacked = Stacked(cfg, steps_per_epoch=20, runs=20, device=CPU, processes=2)
    assert [len(share) for share in stacked.parts] == [10, 10]
    assert "in 2 processes" in stacked.description
    seconds = stacked.run(20)
    assert "GPU available" not in capfd.readouterr().err
    [spent] = stacked.spent
    assert min(spent.computing, spent.looping) > 0
    assert spent.computing + spent.looping + spent.rest == pytest.approx(seconds)


@pytest.mark.parametrize("runs", [1, 2])
def test_where_a_stacked_step_went_adds_up_to_it(cfg, runs):
    stacked = Stacked(cfg, steps_per_epoch=20, runs=runs, device=CPU)
    seconds = stacked.run(20)
    [spent] = stacked.spent
    assert min(spent.computing, spent.looping, spent.rest) > 0
    assert spent.computing + spent.looping + spent.rest == pytest.approx(seconds)


def test_time_that_a_callback_takes_is_counted_as_the_loops(cfg, monkeypatch):
    def slow(self, *args: object) -> None:
        time.sleep(0.05)

    monkeypatch.setattr(GradientNorm, "on_train_batch_end", slow)
    stacked = Stacked(cfg, steps_per_epoch=20, runs=2, device=CPU)
    stacked.run(20)
    [spent] = stacked.spent
    assert spent.looping > 3 * 0.05 / 20  # blocks, seconds, steps
    assert spent.looping > 5 * spent.rest


def test_a_clocked_function_counts_from_a_reading_on():
    clocked = Clocked(abs, CPU)
    assert clocked(-3) == 3
    clocked.calls = [(0.0, 1.0), (2.0, 5.0), (7.0, 8.0)]
    assert clocked.seconds(since=4.0) == 2.0


def test_a_run_that_fails_is_no_time():
    with pytest.raises(ZeroDivisionError):
        all_ended([MemberStopwatch(), ZeroDivisionError()])
