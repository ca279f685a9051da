import contextlib
import gc
import io
import json
import subprocess
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
from torchvision import datasets, transforms

from losslab.losses import CrossEntropy
from losslab.models import MLP, Linear
from runlab.blocks.loader import Samples
from runlab.callbacks.monitors import GradientNorm
from runlab.extras.benchmark import benchmark as task
from runlab.extras.benchmark import limits, peak_memory, report, stacked
from runlab.extras.benchmark.baselines import BareLoop, Template
from runlab.extras.benchmark.data import (
    ImageDataset,
    random_samples,
    tensor_data,
    use_random_samples,
)
from runlab.extras.benchmark.limits import Copy, Matmul, step_bytes, step_flops
from runlab.extras.benchmark.report import scaling_figure
from runlab.extras.benchmark.results import Memory, Results, TimeBreakdown, spread
from runlab.extras.benchmark.stacked import (
    MemberStopwatch,
    StackedRuns,
    StackTime,
    TimedFunction,
    raise_first_error,
    seconds_of_all,
    time_of_stack,
)
from runlab.extras.benchmark.timing import (
    Stopwatch,
    preserve_torch_settings,
    rotate,
    run_interleaved,
)
from tests.compose import CONF, compose

CPU = torch.device("cpu")
TINY = (
    "random_samples=true",
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


@pytest.fixture(autouse=True, scope="module")
def modules_are_no_garbage() -> Iterator[None]:
    """Before each run garbage is collected; to look through all that is imported takes 0.5 s."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def process_settings() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with preserve_torch_settings():
        torch.use_deterministic_algorithms(False)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def cfg(tmp_path: Path) -> DictConfig:
    """A tiny benchmark whose data are random."""
    cfg = composed(*TINY)
    cfg.run.folder = str(tmp_path / "run")
    use_random_samples(cfg)
    return cfg


@pytest.fixture
def baselines(cfg: DictConfig) -> tuple[BareLoop, Template]:
    data = tensor_data(cfg)
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
    breakdown={},
    memory={},
    step_flops=10_000_000,
    step_bytes=2_000_000,
    resource=dict.fromkeys(("bare loop", "losslab", "other"), "1 thread"),
    flops={"1 thread": 100e9},
    copied={"1 thread": 40e9},
    seconds_outside_training=[0.5, 0.25, 1.0],
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

BREAKDOWN = TimeBreakdown(compute=60e-6, loop=30e-6, other=10e-6)
SCALING = replace(
    RESULTS,
    seconds=RESULTS.seconds | {"two": [90e-6, 100e-6, 200e-6], "ten": [50e-6, 40e-6, 60e-6]},
    stacks={"two": 2, "ten": 10},
    breakdown={"two": [BREAKDOWN] * 3, "ten": [BREAKDOWN] * 3},
    memory={"two": Memory(2**30, 2**30 + 2**25), "ten": Memory(None, None)},
    resource=RESULTS.resource | {"two": "2 threads", "ten": "2 threads"},
    flops=RESULTS.flops | {"2 threads": 200e9},
    copied=RESULTS.copied | {"2 threads": 50e9},
)
"""As `RESULTS`, with two runs and ten that train together."""


def test_flops_of_an_mlp_step_are_those_counted_by_hand():
    inputs, targets = torch.rand(64, 1, 28, 28), torch.zeros(64, dtype=torch.long)
    weights, first = 784 * 128 + 128 * 64 + 64 * 10, 784 * 128
    counted = step_flops(MLP([1, 28, 28], 10), CrossEntropy(), inputs, targets)
    assert counted == 6 * weights * 64 - 2 * first * 64 == 29_081_600


def test_flops_of_a_single_layer_are_two_thirds_of_six_a_weight():
    inputs, targets = torch.rand(8, 1, 28, 28), torch.zeros(8, dtype=torch.long)
    assert step_flops(Linear([1, 28, 28], 10), CrossEntropy(), inputs, targets) == 4 * 7840 * 8


def test_counting_flops_leaves_the_network_without_gradients():
    network = Linear([1, 4, 4], 3)
    step_flops(network, CrossEntropy(), torch.rand(2, 1, 4, 4), torch.tensor([0, 1]))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_bytes_of_an_mlp_step_are_those_of_the_formula():
    inputs, targets = torch.rand(64, 1, 28, 28), torch.zeros(64, dtype=torch.long)
    parameters, not_first = 109_386, 128 * 64 + 64 * 10
    counted = step_bytes(MLP([1, 28, 28], 10), CrossEntropy(), SGD, inputs, targets)
    assert counted == 4 * (4 * parameters + not_first + 2 * 64 * 784)


def test_bytes_of_a_step_grow_by_the_optimizers_state_read_and_written():
    inputs, targets, parameters = torch.rand(8, 1, 4, 4), torch.zeros(8, dtype=torch.long), 17 * 10
    counted = [
        step_bytes(Linear([1, 4, 4], 10), CrossEntropy(), each, inputs, targets)
        for each in (SGD, partial(SGD, momentum=0.9))
    ]
    assert counted == [4 * (4 * parameters + 2 * 8 * 16), 4 * (6 * parameters + 2 * 8 * 16)]


def test_frozen_parameters_are_read_and_no_more():
    network, targets = Linear([1, 4, 4], 10), torch.zeros(8, dtype=torch.long)
    whole = step_bytes(network, CrossEntropy(), SGD, torch.rand(8, 1, 4, 4), targets)
    [_, bias] = network.parameters()
    bias.requires_grad_(False)
    less = step_bytes(network, CrossEntropy(), SGD, torch.rand(8, 1, 4, 4), targets)
    assert whole - less == 3 * bias.nbytes
    assert all(parameter.grad is None for parameter in network.parameters())


def test_peak_is_a_rate_that_this_machine_can_have():
    assert 1e6 < Matmul(CPU, torch.float32, size=64).per_second(attempts=3) < 1e16
    assert 1e6 < Copy(CPU, size=4096).per_second(attempts=3) < 1e16


def test_a_peak_on_more_threads_leaves_their_number_as_it_was():
    Matmul(CPU, torch.float32, size=8).per_second(threads=2, attempts=1)
    assert torch.get_num_threads() == 1


def test_a_machine_keeps_the_best_of_each_resource_and_of_fewer_threads(monkeypatch):
    monkeypatch.setattr(limits, "Matmul", lambda *_: Rates([3.0, 5.0, 4.0, 1.0]))
    monkeypatch.setattr(limits, "Copy", lambda *_: Rates([8.0, 6.0, 7.0, 5.0]))
    rates = limits.PeakRates(CPU, torch.float32, threads=[1, 2])
    rates.measure()
    rates.measure()
    assert rates.flops == {"1 thread": 4.0, "2 threads": 5.0}
    assert rates.copied == {"1 thread": 8.0, "2 threads": 8.0}


class Rates:
    def __init__(self, rates: list[float]) -> None:
        self.rates = iter(rates)

    def per_second(self, threads: int) -> float:
        return next(self.rates)


def test_threads_of_the_cpu_are_no_matter_to_another_device():
    names = [limits.resource(torch.device("cuda", 0), threads) for threads in (1, 16)]
    assert names == ["cuda:0", "cuda:0"]


def test_ratios_compare_each_round_with_itself():
    assert RESULTS.ratios("losslab", "bare loop") == pytest.approx((1.5, 1.0, 2.0))
    assert RESULTS.ratios("losslab", "losslab") == (1.0, 1.0, 1.0)


def test_spread_is_median_least_and_most():
    assert spread([5.0, 1.0, 2.0]) == (2.0, 1.0, 5.0)


def test_share_of_peak_is_the_arithmetic_alone_over_the_median_step():
    assert RESULTS.arithmetic_floor("losslab") == pytest.approx(100e-6)
    assert RESULTS.bytes_floor("losslab") == pytest.approx(50e-6)
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


@pytest.mark.long
@pytest.mark.parametrize("steps", [8, 20, 40])  # a block, an epoch, two epochs
def test_losslab_and_the_bare_loop_end_with_equal_weights(baselines, steps):
    bare, template = baselines
    assert bare.run(steps) > 0
    assert template.run(steps) > 0
    for ours, theirs, initial in zip(
        template.network.parameters(),
        bare.network.parameters(),
        bare.initial.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
        assert not torch.equal(ours, initial)


def test_every_run_of_a_baseline_starts_alike(baselines):
    for baseline in baselines:
        weights = []
        for _ in range(2):
            baseline.run(8)
            weights.append(nn.utils.parameters_to_vector(baseline.network.parameters()))
        assert torch.equal(*weights)


def test_single_images_are_those_of_torchvisions_data_set(data_dir, tiny):
    cfg = composed(*tiny)
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((cfg.data.mean,), (cfg.data.std,))]
    )
    theirs = datasets.MNIST(data_dir, train=True, transform=transform)
    ours = ImageDataset(tensor_data(cfg).read().train, cfg.data.mean, cfg.data.std)
    assert len(ours) == len(theirs) == 200
    for index in (0, 7, 199):
        (image, target), (expected, expected_target) = ours[index], theirs[index]
        assert torch.equal(image, expected)
        assert target == expected_target


def test_only_images_of_bytes_are_handled_one_by_one():
    samples = Samples(torch.rand(3, 5), torch.zeros(3))
    with pytest.raises(ValueError, match=r"images of bytes.* got torch.float32 of shape \[3, 5\]"):
        ImageDataset(samples, mean=0, std=1)


def test_random_samples_are_alike_in_every_process_and_of_the_configured_shape(cfg):
    first, other = tensor_data(cfg), tensor_data(cfg)
    random_samples.cache_clear()
    assert torch.equal(first.read().train.inputs, other.read().train.inputs)
    inputs, targets = first.read().train
    assert (inputs.shape, inputs.dtype) == ((704, 1, 28, 28), torch.uint8)
    assert targets.unique().tolist() == list(range(10))


def test_random_samples_need_to_know_what_one_is_like():
    with pytest.raises(ValueError, match=r"expected input_shape and target_values, .* got None"):
        use_random_samples(composed("input_shape=null"))


def test_data_that_the_bare_loop_cannot_normalize_are_refused():
    cfg = composed()
    cfg.data = {"_target_": "runlab.data.TensorData", "train_size": 64, "val_size": 8}
    with pytest.raises(ValueError, match=r"a mean and std.* got runlab\.data\.TensorData"):
        tensor_data(cfg)


def test_lightning_with_a_data_loader_takes_the_steps_that_it_is_given(cfg):
    other = task.lightning_data_loader(cfg, tensor_data(cfg), workers=0)
    calls = []
    other.loss.register_forward_hook(lambda *_: calls.append(1))
    assert other.run(25) > 0  # its epochs have 22: all official training images
    assert len(calls) == 25


def test_steps_are_whole_epochs_or_whole_blocks_of_one(baselines):
    _, template = baselines
    assert template.length(60) == (3, 1.0)
    assert template.length(16) == (1, 16)
    for steps in (4, 21, 39):
        with pytest.raises(ValueError, match=rf"epochs of 20, or .* blocks of 8 .* got {steps}$"):
            template.length(steps)


def test_a_stopwatch_refuses_a_training_that_ended_early():
    stopwatch = Stopwatch()
    stopwatch.steps = 3
    with pytest.raises(ValueError, match="expected 4 optimizer steps, got 3"):
        stopwatch.seconds_per_step(4)


def test_everyone_goes_first_in_turn():
    assert [rotate("abc", number) for number in range(4)] == [
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


def test_determinism_ends_with_the_baseline_that_asked_for_it():
    with preserve_torch_settings():
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = True
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark


@pytest.mark.long
def test_benchmark_prints_and_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(limits, "Matmul", partial(Matmul, size=64))
    monkeypatch.setattr(limits, "Copy", partial(Copy, size=4096))
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
    for name, breakdown in raw["breakdown"].items():
        assert [sum(each.values()) for each in breakdown] == pytest.approx(raw["seconds"][name])
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in raw["seconds"].values())
    assert raw["seconds"] == results.seconds
    assert raw["steps"] == 20
    assert Path("table.md").read_text() == report.markdown(results)
    assert capsys.readouterr().out == report.terminal(results) + "\n"
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.long
def test_a_fresh_process_reaches_its_first_step_with_the_same_overrides(cfg):
    stages = task.measure_startup(cfg)
    assert list(stages)[:3] == ["start Python", "import torch", "import lightning"]
    assert list(stages)[-1] == "first block of steps"
    assert min(stages.values()) > 0


def test_a_fresh_process_gets_the_overrides_that_training_knows():
    composed("model=cnn", "rounds=3", "data.batch_size=8", "+trainer.precision=32", "workers=[2]")
    expected = ["model=cnn", "data.batch_size=8", "+trainer.precision=32"]
    assert task.training_overrides() == expected


def test_a_script_that_fails_in_a_fresh_process_is_told_with_its_error(cfg, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="no such thing")
    monkeypatch.setattr(task.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match=r"^startup\.py failed in a new process:\nno such thing"):
        task.measure_startup(cfg)


@pytest.mark.long
def test_a_fresh_process_tells_what_further_runs_add_to_its_memory(cfg, monkeypatch):
    monkeypatch.setattr(task.subprocess, "run", measure_here)
    memory = task.measure_memory(cfg, runs=3)
    if sys.platform != "linux":
        assert memory == Memory(None, None)
        return
    assert 0 < memory.alone <= memory.together < 2**40


def measure_here(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
    """What peak_memory.py prints, without a process of its own."""
    *_, script, conf, overrides, runs = command
    assert Path(script).samefile(peak_memory.__file__)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        peak_memory.main(conf, json.loads(overrides), int(runs))
    return subprocess.CompletedProcess(command, 0, printed.getvalue(), "")


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
        ("workers=[0,-1]", "expected workers to be a whole number of 0 to .*, got -1"),
        ("workers=[1000000]", "expected workers to be a whole number of 0 to .*, got 1000000"),
        ("stacks=[0]", "expected stacks to be a whole number of 1 to 1000, got 0"),
        ("stacks=[1000000]", "expected stacks to be a whole number of 1 to 1000, got 1000000"),
        ("scheduler=cosine", "expected scheduler=none"),
        (
            "trainer.gradient_clip_val=1",
            "and trainer.gradient_clip_val=null",
        ),
        ("json=/no/such/folder/raw.json", "expected json in a folder that exists"),
        ("figure=/no/such/folder/scaling.png", "expected figure in a folder that exists"),
        ("figure=scaling.pdf", r"expected figure to end in \.png or \.svg, got scaling\.pdf"),
        ("figure=scaling.png", r"expected two stack sizes or more for a figure .* got \[20\]"),
        (f"json={__file__}", "expected json to be a new file, but .* exists.*overwrite=true"),
        ("stacks=[2,2]", r"expected stacks of different sizes, got \[2, 2\]"),
        ("threads=0", "expected threads to be a whole number of 1 to"),
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
    together = StackedRuns(cfg, steps_per_epoch=20, runs=2, device=CPU)
    assert together.name == "losslab, 2 runs stacked"
    assert 0 < together.run(20) < 1
    cfg.seed = 1  # the last of the two
    single = Template(cfg, 20)
    single.run(20)
    ends = (together.template.network.parameters(), single.network.parameters())
    for ours, by_itself in zip(*ends, strict=True):
        torch.testing.assert_close(ours, by_itself, rtol=1e-3, atol=1e-4)


def test_time_together_is_that_of_all_runs_without_their_validations():
    watches = []
    for started, ended, trained in ((0, 9, 7), (1, 10, 8)):  # validated for 2 and for 1
        watch = MemberStopwatch()
        watch.started, watch.ended, watch.seconds, watch.steps = started, ended, trained, 5
        watch.waiting, watch.alone = TimedFunction(abs, CPU), TimedFunction(abs, CPU)
        watches.append(watch)
    stack = time_of_stack(watches, TimedFunction(abs, CPU), steps=5)
    assert (stack.ready, stack.ended, stack.validation) == (1, 10, 3)
    assert seconds_of_all([stack]) == 10 - 1 - 3


def test_time_of_several_stacks_is_from_the_first_start_to_the_last_end():
    first = StackTime(ready=1, ended=10, compute=5, loop=1, validation=2)
    later = StackTime(ready=2, ended=12, compute=6, loop=1, validation=3)
    assert seconds_of_all([first, later]) == 12 - 1 - 2


def test_runs_on_two_cores_are_divided_and_their_times_put_together(cfg, monkeypatch):
    monkeypatch.setattr(stacked, "Parallel", lambda n_jobs: list)
    monkeypatch.setattr(stacked, "delayed", lambda function: function)
    seeds = []

    def train(cfgs: list[DictConfig], steps: int) -> StackTime:
        seeds.append([cfg.seed for cfg in cfgs])
        return StackTime(ready=1, ended=41, compute=20 * len(seeds), loop=4, validation=0)

    twenty = StackedRuns(cfg, steps_per_epoch=20, runs=20, device=CPU, processes=2)
    assert [len(part) for part in twenty.parts] == [10, 10]
    assert "in 2 processes" in twenty.description
    twenty.train = train
    assert twenty.run(20) == 40 / 400
    assert seeds == [[*range(10)], [*range(10, 20)]]
    assert twenty.breakdown == [TimeBreakdown(compute=30 / 400, loop=4 / 400, other=6 / 400)]


@pytest.mark.long
def test_twenty_runs_on_two_cores_train_as_two_stacks_at_once(cfg, capfd):
    together = StackedRuns(cfg, steps_per_epoch=20, runs=20, device=CPU, processes=2)
    assert [len(part) for part in together.parts] == [10, 10]
    assert "in 2 processes" in together.description
    seconds = together.run(20)
    assert "GPU available" not in capfd.readouterr().err
    [breakdown] = together.breakdown
    assert min(breakdown.compute, breakdown.loop) > 0
    assert breakdown.compute + breakdown.loop + breakdown.other == pytest.approx(seconds)


@pytest.mark.parametrize("runs", [1, 2])
def test_where_a_stacked_step_went_adds_up_to_it(cfg, runs):
    together = StackedRuns(cfg, steps_per_epoch=20, runs=runs, device=CPU)
    seconds = together.run(20)
    [breakdown] = together.breakdown
    assert min(breakdown.compute, breakdown.loop, breakdown.other) > 0
    assert breakdown.compute + breakdown.loop + breakdown.other == pytest.approx(seconds)


def test_time_that_a_callback_takes_is_counted_as_the_loops(cfg, monkeypatch):
    def slow(self, *args: object) -> None:
        time.sleep(0.05)

    monkeypatch.setattr(GradientNorm, "on_train_batch_end", slow)
    together = StackedRuns(cfg, steps_per_epoch=20, runs=2, device=CPU)
    together.run(20)
    [breakdown] = together.breakdown
    assert breakdown.loop > 3 * 0.05 / 20  # blocks, seconds, steps
    assert breakdown.loop > 5 * breakdown.other


def test_a_clocked_function_counts_from_a_reading_on():
    clocked = TimedFunction(abs, CPU)
    assert clocked(-3) == 3
    clocked.calls = [(0.0, 1.0), (2.0, 5.0), (7.0, 8.0)]
    assert clocked.seconds(since=4.0) == 2.0


def test_a_run_that_fails_is_no_time():
    with pytest.raises(ZeroDivisionError):
        raise_first_error([MemberStopwatch(), ZeroDivisionError()])
