"""What every component and configuration file must hold; a new one is tested by being there."""

import importlib
import inspect

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from runlab.config import fingerprint, received, schema
from runlab.measure import declared_measures
from runlab.runs.lifecycle import resolved_config
from tests.compose import CONF, compose

PACKAGE = CONF.parent / "src" / "losslab"
GROUP_OF_ROOM = {"models": "model", "losses": "loss", "data": "data", "callbacks": "callback"}
GROUPS = [
    "module",
    "data", "model", "loss", "optimizer", "scheduler", "trainer", "logger", "callback", "experiment"
]  # fmt: skip
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
COMPONENTS = [
    (room, path.stem)
    for room in GROUP_OF_ROOM
    for path in sorted((PACKAGE / room).glob("*.py"))
    if not path.stem.startswith("_")
]


def choices(group: str) -> list[str]:
    return [choice for of, choice in CHOICES if of == group]


def override(group: str, choice: str) -> str:
    return f"callback=[default,{choice}]" if group == "callback" else f"{group}={choice}"


@pytest.mark.parametrize(("room", "stem"), COMPONENTS)
def test_a_component_has_a_configuration_file_of_its_name(room, stem):
    path = CONF / GROUP_OF_ROOM[room] / f"{stem}.yaml"
    assert path.exists(), f"{room}/{stem}.py needs {path.relative_to(CONF.parent)}"
    module = importlib.import_module(f"losslab.{room}.{stem}")
    own = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    ]
    assert stem.replace("_", "") in {name.lower() for name in own}, "a file's class has its name"


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_names_parameters_that_exist(group, choice):
    cfg = compose(override(group, choice))
    schema.check(OmegaConf.to_container(cfg, resolve=True))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_a_run_of_every_choice_may_be_trained_again_by_whoever_gets_its_record(group, choice):
    """A function in it has to be `runlab.configurable`."""
    received.check(resolved_config(compose(override(group, choice))), runs=True)


@pytest.mark.parametrize("choice", choices("model"))
def test_a_model_maps_images_to_one_output_a_class(choice):
    cfg = compose(f"model={choice}")
    network = instantiate(cfg.model)
    outputs = network(torch.rand(3, *cfg.data.shape))
    assert outputs.shape == (3, cfg.data.num_classes)
    outputs.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("choice", choices("model"))
def test_a_models_output_for_an_image_does_not_depend_on_its_batch(choice):
    cfg = compose(f"model={choice}")
    network = instantiate(cfg.model).eval()
    images = torch.rand(4, *cfg.data.shape)
    torch.testing.assert_close(network(images)[:1], network(images[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("choice", choices("loss"))
class TestLoss:
    @pytest.fixture
    def loss(self, choice) -> nn.Module:
        return instantiate(compose(f"loss={choice}").loss)

    def test_is_a_scalar_that_is_the_mean_over_the_batch(self, loss):
        outputs, labels = torch.randn(6, 10), torch.randint(0, 10, (6,))
        whole = loss(outputs, labels)
        assert whole.shape == ()
        halves = [loss(outputs[part], labels[part]) for part in (slice(0, 3), slice(3, 6))]
        torch.testing.assert_close(whole, torch.stack(halves).mean())

    def test_prefers_the_right_class(self, loss):
        right, wrong = torch.eye(10)[:1] * 0.9, torch.eye(10)[1:2] * 0.9
        label = torch.tensor([0])
        assert loss(right, label) < loss(wrong, label)

    def test_maps_outputs_to_probabilities(self, loss):
        for scale in (0.0, 1.0, 100.0):
            p = loss.probabilities(scale * torch.randn(20, 10))
            assert ((p >= 0) & (p <= 1)).all()
            torch.testing.assert_close(p.sum(dim=1), torch.ones(20))

    def test_agrees_with_its_probabilities_about_the_likeliest_class(self, loss):
        outputs = torch.eye(10)
        assert torch.equal(loss.probabilities(outputs).argmax(dim=1), torch.arange(10))

    def test_trains(self, loss):
        outputs = torch.zeros(8, 10, requires_grad=True)
        labels = torch.arange(8)
        optimizer = torch.optim.Adam([outputs], lr=0.1)
        first = loss(outputs, labels).item()
        for _ in range(50):
            optimizer.zero_grad()
            loss(outputs, labels).backward()
            optimizer.step()
        assert loss(outputs, labels).item() < 0.5 * first

    def test_says_what_it_is(self, loss):
        assert type(loss).__doc__
        assert loss.probabilities.__doc__, "a comparison names the mapping by it"


@pytest.mark.parametrize("choice", choices("data"))
def test_data_are_a_lightning_data_module(choice):
    data = instantiate(compose(f"data={choice}").data)
    assert isinstance(data, L.LightningDataModule)


@pytest.mark.parametrize("choice", choices("optimizer"))
def test_an_optimizer_takes_parameters_and_a_rate(choice):
    parameter = nn.Parameter(torch.ones(3))
    factory = instantiate(compose(f"optimizer={choice}", "optimizer.lr=0.5").optimizer)
    optimizer = factory([parameter])
    parameter.sum().backward()
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert (parameter < 1).all()


@pytest.mark.parametrize("choice", choices("experiment"))
def test_an_experiment_is_headed_by_its_purpose_and_command(choice):
    text = (CONF / "experiment" / f"{choice}.yaml").read_text()
    for word in ("# Purpose ", "# Cost ", "# Result ", "# Command "):
        assert word in text, f"{choice}.yaml should say its {word.strip('# ').lower()}"
    assert compose(f"experiment={choice}").name.startswith(choice)


@pytest.mark.parametrize("choice", choices("callback"))
def test_a_callback_that_only_watches_is_no_part_of_what_a_run_is(choice):
    changes_results = choice in ("default", "checkpoint", "stop_on_divergence")
    watchers = list(compose().watchers)
    assert fingerprint.affects_result(f"callback.{choice}", watchers) == changes_results


def test_the_best_checkpoint_is_chosen_by_the_primary_measure():
    config = OmegaConf.to_container(compose(), resolve=True)
    primary, *_ = declared_measures(config)
    assert compose().callback.best.monitor == f"val/{primary.name}"
    assert compose().callback.best.mode == ("max" if primary.higher_is_better else "min")
