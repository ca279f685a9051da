"""docs/lightning.md and the installed Lightning: none is missing, each does what the page says."""

import copy
import csv
import inspect
import math
import re
from functools import partial

import lightning as L
import pytest
import torch
from lightning.pytorch import callbacks

from losslab import Classifier
from runlab.blocks.size import tell
from runlab.components import build_data, build_module, build_trainer
from runlab.train import train
from tests.compose import ROOT, compose

HERE = "tests.runs.test_lightning"
FEW = ["logger=none", "callback=checkpoint", "trainer.max_epochs=1"]
STOCK = "lightning.pytorch.callbacks"
WORKS, STEPS, REFUSED = "works", "step by step", "refused"


def table(title: str) -> dict[str, str]:
    """What the page's table with this title says of each name."""
    page = (ROOT / "docs" / "lightning.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", section, re.M))


@pytest.fixture
def run(tmp_path, tiny):
    def train_in(*overrides, folder="run"):
        (tmp_path / folder).mkdir()
        return train(compose(*tiny, *FEW, *overrides, folder=tmp_path / folder))

    return train_in


def callback(name: str, **settings: object) -> str:
    given = "".join(f",{key}:{value}" for key, value in settings.items())
    return f"+callback.{name.lower()}={{_target_:{STOCK}.{name}{given}}}"


def method(name: str) -> str:
    return f"{{_target_:hydra.utils.get_method,path:{HERE}.{name}}}"


def samples_in(batch) -> int:
    return len(batch[1])


def nothing(*arguments) -> None:
    pass


def test_the_page_has_every_callback_of_the_installed_version():
    assert table("Callbacks").keys() == set(callbacks.__all__)


def test_the_page_has_every_flag_of_the_installed_version():
    flags = inspect.signature(L.Trainer.__init__).parameters.keys() - {"self"}
    assert table("Trainer flags").keys() == flags


TRIED = {
    "EarlyStopping": callback("EarlyStopping", monitor="val/accuracy", mode="max"),
    "LambdaCallback": callback("LambdaCallback", on_train_epoch_end=method("nothing")),
    "ModelSummary": callback("ModelSummary"),
    "Timer": callback("Timer", duration="'00:01:00:00'"),
    "ModelCheckpoint": callback("ModelCheckpoint", dirpath="'${run.folder}/own'", every_n_epochs=2),
    "RichModelSummary": callback("RichModelSummary"),
    "RichProgressBar": callback("RichProgressBar"),
    "TQDMProgressBar": callback("TQDMProgressBar"),
    "DeviceStatsMonitor": callback("DeviceStatsMonitor", cpu_stats="false"),
    "LearningRateMonitor": callback("LearningRateMonitor", logging_interval="step"),
    "ThroughputMonitor": callback("ThroughputMonitor", batch_size_fn=method("samples_in")),
    "WeightAveraging": callback("WeightAveraging"),
    "EMAWeightAveraging": callback("EMAWeightAveraging"),
}
ELSEWHERE = {"BackboneFinetuning", "StochasticWeightAveraging", "BaseFinetuning"}
"""Which other tests train with."""

BASES = {"Callback", "Checkpoint", "ProgressBar", "BaseFinetuning"}
TOGETHER = [
    ["EarlyStopping", "LambdaCallback", "ModelSummary", "Timer", "ModelCheckpoint"],
    ["RichModelSummary", "RichProgressBar"],
    ["TQDMProgressBar"],
    ["DeviceStatsMonitor"],
    ["LearningRateMonitor"],
    ["ThroughputMonitor"],
    ["WeightAveraging"],
    ["EMAWeightAveraging"],
]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:When using the `ThroughputMonitor`, you need to define")
@pytest.mark.parametrize("names", TOGETHER, ids=" ".join)
def test_callbacks_work_in_blocks_or_step_by_step_as_the_page_says(run, names, caplog):
    tell.cache_clear()
    with caplog.at_level("INFO"):
        run("logger=csv", *[TRIED[name] for name in names])
    says = {table("Callbacks")[name] for name in names}
    assert says == {STEPS if "step by step" in caplog.text else WORKS}


REFUSALS = {
    "BatchSizeFinder": (callback("BatchSizeFinder"), r"sweep data\.batch_size"),
    "LearningRateFinder": (callback("LearningRateFinder"), r"sweep optimizer\.lr"),
    "ModelPruning": (callback("ModelPruning", pruning_fn="l1_unstructured"), "masks"),
    "SpikeDetection": (callback("SpikeDetection"), "stop_on_divergence"),
    "OnExceptionCheckpoint": (
        callback("OnExceptionCheckpoint", dirpath="'${run.folder}'"), "goes on .* by itself"
    ),
    "GradientAccumulationScheduler": (
        f"+callback.own._target_={HERE}.Accumulates", r"trainer\.accumulate_grad_batches"
    ),
    "BasePredictionWriter": (f"+callback.own._target_={HERE}.Writes", "use the command predict"),
}  # fmt: skip


class Accumulates(callbacks.GradientAccumulationScheduler):
    def __init__(self):
        super().__init__({0: 2})


class Writes(callbacks.BasePredictionWriter):
    pass


def test_each_callback_of_the_page_is_tried():
    tried = {**dict.fromkeys(REFUSALS, REFUSED), **dict.fromkeys(ELSEWHERE | BASES, WORKS)}
    tried |= {name: says for name, says in table("Callbacks").items() if name in TRIED}
    assert tried == table("Callbacks")


@pytest.mark.long
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_callback_is_one_sentence_before_the_run_begins(run, tmp_path, name):
    override, told = REFUSALS[name]
    with pytest.raises(ValueError, match=f"expected no callback .*{told}"):
        run(override)
    assert not list((tmp_path / "run").rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (callback("ModelCheckpoint", save_on_exception="true", every_n_epochs=2),
         "no save_on_exception"),
        (callback("ModelCheckpoint", train_time_interval="{_target_:datetime.timedelta,seconds:1}"),
         "every_n_train_steps or every_n_epochs"),
        (callback("LambdaCallback", on_before_zero_grad=method("nothing")), "on_train_batch_start"),
    ],
)  # fmt: skip
def test_what_a_callback_could_not_do_here_is_one_sentence(run, override, told):
    with pytest.raises(ValueError, match=told):
        run(override)


def test_learning_rate_monitor_shows_each_steps_rate(run, tmp_path):
    run("logger=csv", TRIED["LearningRateMonitor"], "scheduler=cosine")
    [path] = (tmp_path / "run").rglob("metrics.csv")
    with path.open(newline="") as file:
        rows = [(int(row["step"]), float(row["lr-SGD"])) for row in csv.DictReader(file)
                if row["lr-SGD"]]  # fmt: skip
    assert [step for step, _ in rows] == list(range(10)), "optimizer steps taken before"
    expected = [0.05 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert [rate for _, rate in rows] == pytest.approx(expected, abs=1e-6)


class Finetuned(Classifier):
    """Its network's first layer is the backbone."""

    seen: list[float]

    @property
    def backbone(self):
        return next(each for each in self.network.modules() if hasattr(each, "weight"))

    def on_train_epoch_end(self):
        super().on_train_epoch_end()
        Finetuned.seen.append(float(self.backbone.weight.detach().double().sum()))


@pytest.mark.filterwarnings("ignore:The provided params to be frozen already exist")
def test_backbone_finetuning_keeps_the_backbone_until_its_epoch(run):
    Finetuned.seen = []
    run(f"module._target_={HERE}.Finetuned", "trainer.max_epochs=3",
        callback("BackboneFinetuning", unfreeze_backbone_at_epoch=2))  # fmt: skip
    first, second, third = Finetuned.seen
    assert first == second != third


# The Trainer's flags

FLAGS = {
    "accelerator": "cpu", "accumulate_grad_batches": 2, "benchmark": "false",
    "check_val_every_n_epoch": 1, "default_root_dir": "'${run.folder}'", "deterministic": "true",
    "detect_anomaly": "true", "devices": 1, "enable_autolog_hparams": "false",
    "enable_model_summary": "true", "gradient_clip_val": 1.0, "gradient_clip_algorithm": "value",
    "inference_mode": "false", "limit_test_batches": 1, "limit_train_batches": 7,
    "limit_val_batches": 1, "log_every_n_steps": 2, "max_epochs": 2, "max_steps": 6,
    "max_time": "'00:01:00:00'", "min_epochs": 1, "min_steps": 1, "num_sanity_val_steps": 2,
    "plugins": "[]", "precision": "bf16-mixed", "profiler": "simple", "strategy": "auto",
    "reload_dataloaders_every_n_epochs": 1, "sync_batchnorm": "false",
    "use_distributed_sampler": "true", "val_check_interval": 4,
}  # fmt: skip
"""They work together; each with what it may be on a machine without a GPU."""

ALONE = {"fast_dev_run": "true", "overfit_batches": 2}
REFUSED_FLAGS = {
    "barebones": ("true", "recorded by what it logs"),
    "callbacks": ("[]", "the group callback"),
    "enable_checkpointing": ("false", r"~callback\.checkpoint"),
    "enable_progress_bar": ("true", "add callback=progress"),
    "limit_predict_batches": (1, "predicts nothing"),
    "logger": ("false", "logger=none"),
    "model_registry": ("x", "stay in its folder"),
    "num_nodes": (2, "one machine"),
}


def test_each_flag_of_the_page_is_tried():
    tried = {name: WORKS for name in FLAGS | ALONE} | dict.fromkeys(REFUSED_FLAGS, REFUSED)
    assert tried == table("Trainer flags")


@pytest.mark.filterwarnings("ignore:Precision bf16-mixed is not supported by the model summary")
def test_flags_that_work_do_so_together(run):
    entry = run(*[f"++trainer.{name}={value}" for name, value in FLAGS.items()])
    # 7 batches an epoch, two a step: steps after 2, 4, 6, 7 and 9, 11 of 14
    assert entry["metrics"]["epochs"] == pytest.approx(11 / 7)


@pytest.mark.parametrize("name", ALONE)
def test_a_flag_that_works_alone_does(run, name):
    assert "val/accuracy" in run(f"+trainer.{name}={ALONE[name]}")["metrics"]


@pytest.mark.parametrize("name", REFUSED_FLAGS)
def test_a_refused_flag_is_one_sentence(run, name):
    value, told = REFUSED_FLAGS[name]
    with pytest.raises(ValueError, match=rf"expected no trainer\.{name}=.*{told}"):
        run(f"+trainer.{name}={value}")


def test_validations_may_come_by_the_clock(run):
    assert "val/accuracy" in run("+trainer.val_check_interval='00:00:00:01'")["metrics"]


# Accumulation and clipping, against Lightning's own


class OwnStep(Classifier):
    def optimizer_step(self, *arguments):
        raise AssertionError


class Silent(Classifier):
    def on_validation_epoch_end(self):
        self.ended = True


class Chained(Classifier):
    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        self.ended = True


class ChainsToSilent(Silent):
    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()


class Untested(L.LightningModule):
    validation_step = Classifier.validation_step


class Configured(Classifier):
    def __init__(self, **others) -> None:
        super().__init__(**others)
        self.save_hyperparameters({"config": {"lr": 0.1}})


HERE = "tests.runs.test_lightning"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("OwnStep", "expected no optimizer_step in OwnStep: a runlab.Module takes its own"),
        ("Silent", r"on_validation_epoch_end of Silent to call super\(\).on_validation_epoch_end"),
        ("ChainsToSilent", "expected on_validation_epoch_end of Silent to call super"),
        ("Configured", r"no hyperparameter config in Configured.*ignore=\['config'\]"),
    ],
)
def test_a_module_of_which_lightning_would_not_call_all_is_refused(run, tmp_path, kind, told):
    with pytest.raises(ValueError, match=told):
        run(f"module._target_={HERE}.{kind}")
    assert not (tmp_path / "checkpoints").exists()


def test_a_module_without_a_test_is_refused_before_it_is_trained(run):
    with pytest.raises(ValueError, match="expected Untested to have a test_step, which measures"):
        run("module=plain", f"module._target_={HERE}.Untested", "callback.best.monitor=val/loss")


def test_a_hook_that_calls_its_base_is_fine(run):
    assert run(f"module._target_={HERE}.Chained")["status"] == "finished"


class Twin(L.LightningModule):
    """The same network on the same batches, as plain Lightning trains it."""

    def __init__(self, module: Classifier) -> None:
        super().__init__()
        self.network, self.loss = module.network, module.loss

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return self.loss(self.network(inputs), targets)

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


SETTINGS = {
    "accumulated": {"accumulate_grad_batches": 4},
    "to the end": {"accumulate_grad_batches": 3, "limit_train_batches": 7},
    "and max_steps": {"accumulate_grad_batches": 4, "max_steps": 5},
    "clipped": {"gradient_clip_val": 0.1},
    "values clipped": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    "all": {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1, "val_check_interval": 3},
}


@pytest.mark.parametrize(
    ("settings", "loader"), [*((each, "tensor") for each in SETTINGS), ("all", "dataloader")]
)
def test_accumulating_and_clipping_equal_lightnings_own(tmp_path, tiny, settings, loader):
    flags = SETTINGS[settings]
    given = [f"++trainer.{name}={value}" for name, value in flags.items()]
    cfg = compose(*tiny, "logger=none", "callback=[]", f"data.loader={loader}", *given,
                  "optimizer.momentum=0.9", folder=tmp_path)  # fmt: skip
    data = build_data(cfg)
    module = build_module(cfg)
    schedule = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)
    module.scheduler_factory = schedule
    twin, twins_data = Twin(copy.deepcopy(module)), build_data(cfg)
    trainer = build_trainer(cfg)
    trainer.fit(module, datamodule=data)
    plain = L.Trainer(accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False, **flags)  # fmt: skip
    plain.fit(twin, datamodule=twins_data)
    assert trainer.global_step == plain.global_step
    for ours, theirs in zip(module.network.parameters(), twin.network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    rates = [each.optimizers[0].param_groups[0]["lr"] for each in (trainer, plain)]
    assert rates[0] == pytest.approx(rates[1])
