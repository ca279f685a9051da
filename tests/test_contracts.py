"""What every component and configuration file must hold; a new one is tested by being there.

They ask what docs/contract.md asks, and nothing else.
"""

import importlib
import inspect
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError
from torch import Tensor, nn

from runlab.config import received, schema
from runlab.config.fingerprint import flatten, is_of, watchers_of
from runlab.config.run_name import without_place
from runlab.measure import declared_measures
from runlab.module import Module
from runlab.optimizers import build_optimizer_factory
from runlab.runs.lifecycle import resolved_config
from runlab.train import train
from tests.compose import CONF, compose

PACKAGE = CONF.parent / "src" / "losslab"
NO_COMPONENTS = ("hydra", "comparison")
GROUPS = sorted({path.parent.name for path in CONF.glob("*/*.yaml")} - {*NO_COMPONENTS})
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
ROOMS = {path.parent.name for path in PACKAGE.glob("*/*.py")}
GROUP_OF_ROOM = {
    room: group for group in GROUPS for room in ROOMS & {group, f"{group}s", f"{group}es"}
}
COMPONENTS = [
    (room, path.stem)
    for room in sorted(GROUP_OF_ROOM)
    for path in sorted((PACKAGE / room).glob("*.py"))
    if not path.stem.startswith("_")
]
SAMPLES, OUTPUTS = 6, 10


def choices(group: str) -> list[str]:
    return [choice for of, choice in CHOICES if of == group]


def choose(group: str, choice: str, *others: str) -> DictConfig:
    """The configuration with this choice; what a user has to give is given."""
    name = f"callback=[default,{choice}]" if group == "callback" else f"{group}={choice}"
    cfg = compose(name, *others)
    with open_dict(cfg):
        for key in missing(cfg):
            OmegaConf.update(cfg, key, "given")
    return cfg


def missing(cfg: DictConfig) -> list[str]:
    return [key for key, value in flatten(OmegaConf.to_container(cfg)).items() if value == "???"]


def resolved(group: str, choice: str) -> dict[str, Any]:
    """A run's configuration with this choice.

    What it refers to may be what only other data have than the default's.
    """
    if group == "experiment":
        return resolved_config(choose(group, choice))
    wrong = []
    for data in ([], *([f"data={each}"] for each in choices("data") if group != "data")):
        cfg = without_place(choose(group, choice, *data))
        try:
            node = cfg[group]
            values = (
                OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
            )
            return resolved_config(compose()) | {group: values}
        except InterpolationResolutionError as error:
            wrong.append(error)
    raise wrong[0]


@pytest.mark.parametrize(("room", "stem"), COMPONENTS)
def test_a_component_has_a_configuration_file_of_its_name(room, stem):
    path = CONF / GROUP_OF_ROOM[room] / f"{stem}.yaml"
    assert path.exists(), f"{room}/{stem}.py needs {path.relative_to(CONF.parent)}"
    module = importlib.import_module(f"losslab.{room}.{stem}")
    own = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    names = {name.lower().replace("_", "") for name in own}
    assert stem.replace("_", "") in names, "a file's class, or function, has its name"


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_names_parameters_that_exist(group, choice):
    schema.check(resolved(group, choice))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_a_run_of_every_choice_may_be_trained_again_by_whoever_gets_its_record(group, choice):
    """A function in it has to be `runlab.configurable`."""
    received.check(resolved(group, choice), runs=True)


def on_some_data(model: str) -> tuple[nn.Module, DictConfig]:
    """The model, and the first configuration of data with a shape that it takes."""
    wrong = {}
    for data in choices("data"):
        cfg = choose("data", data, f"model={model}")
        if OmegaConf.is_list(cfg.data.get("shape")):
            try:
                network = instantiate(cfg.model)
                network(torch.rand(2, *cfg.data.shape))
                return network, cfg
            except Exception as error:
                wrong[data] = error
    raise AssertionError(f"{model} takes no sample of any data set: {wrong}")


def tensors(outputs: Any) -> Iterator[Tensor]:
    """Of a tensor, or of a nest of them."""
    if isinstance(outputs, Tensor):
        yield outputs
    else:
        for each in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from tensors(each)


@pytest.mark.parametrize("choice", choices("model"))
class TestModel:
    def test_maps_each_sample_to_outputs_and_what_it_trains_gets_a_gradient(self, choice):
        network, cfg = on_some_data(choice)
        outputs = list(tensors(network(torch.rand(3, *cfg.data.shape))))
        assert [len(each) for each in outputs] == [3] * len(outputs)
        sum(each.sum() for each in outputs).backward()
        trained = [each for each in network.parameters() if each.requires_grad]
        assert trained, "a model without a parameter that is trained"
        assert all(each.grad is not None and each.grad.isfinite().all() for each in trained)

    def test_has_as_many_outputs_as_classes_where_it_takes_their_number(self, choice):
        _, cfg = on_some_data(choice)
        if "num_classes" not in cfg.data:
            return
        before = OmegaConf.to_container(cfg.model, resolve=True)
        cfg.data.num_classes = 7
        if OmegaConf.to_container(cfg.model, resolve=True) != before:
            outputs = instantiate(cfg.model)(torch.rand(3, *cfg.data.shape))
            assert outputs.shape == (3, 7)

    def test_has_outputs_for_a_sample_that_do_not_depend_on_its_batch(self, choice):
        network, cfg = on_some_data(choice)
        samples = torch.rand(4, *cfg.data.shape)
        together, alone = (tensors(network.eval()(each)) for each in (samples, samples[:1]))
        for of_four, of_one in zip(together, alone, strict=True):
            torch.testing.assert_close(of_four[:1], of_one, rtol=1e-4, atol=1e-5)


KINDS = {
    "classes": lambda: (torch.randn(SAMPLES, OUTPUTS), torch.randint(OUTPUTS, (SAMPLES,))),
    "vectors": lambda: (torch.randn(SAMPLES, OUTPUTS), torch.eye(OUTPUTS)[:SAMPLES]),
    "column": lambda: (torch.randn(SAMPLES, 1), torch.rand(SAMPLES, 1).round()),
    "numbers": lambda: (torch.randn(SAMPLES), torch.rand(SAMPLES).round()),
}
"""Outputs and targets: what a loss may be of. A loss takes one kind at least."""


@pytest.mark.parametrize("choice", choices("loss"))
class TestLoss:
    @pytest.fixture
    def loss(self, choice) -> nn.Module:
        return instantiate(choose("loss", choice).loss)

    @pytest.fixture
    def taken(self, loss) -> dict[str, tuple[Tensor, Tensor]]:
        torch.manual_seed(0)
        taken, wrong = {}, {}
        for kind, draw in KINDS.items():
            outputs, targets = draw()
            try:
                loss(outputs, targets)
                taken[kind] = outputs, targets
            except Exception as error:  # whatever a loss of something else raises
                wrong[kind] = error
        assert taken, f"it takes none of these kinds of targets: {wrong}"
        if "classes" in taken:  # to torch's cross-entropy six numbers are one sample
            return {kind: each for kind, each in taken.items() if kind in ("classes", "vectors")}
        return taken

    def test_is_a_scalar_that_is_the_mean_over_the_batch(self, loss, taken):
        for outputs, targets in taken.values():
            whole = loss(outputs, targets)
            assert whole.shape == ()
            halves = [loss(outputs[part], targets[part]) for part in (slice(3), slice(3, None))]
            torch.testing.assert_close(whole, torch.stack(halves).mean())

    def test_prefers_the_right_class(self, loss, taken):
        right, wrong = torch.eye(10)[:1] * 0.9, torch.eye(10)[1:2] * 0.9
        for kind, target in {"classes": torch.tensor([0]), "vectors": torch.eye(10)[:1]}.items():
            if kind in taken:
                assert loss(right, target) < loss(wrong, target)

    def test_goes_down_along_its_gradient(self, loss, taken):
        for outputs, targets in taken.values():
            trained = outputs.clone().requires_grad_()
            optimizer = torch.optim.Adam([trained], lr=0.1)
            first = loss(trained, targets).item()
            for _ in range(50):
                optimizer.zero_grad()
                loss(trained, targets).backward()
                optimizer.step()
            assert loss(trained, targets).item() < 0.9 * first

    def test_maps_outputs_to_probabilities_if_it_says_so(self, loss, taken):
        if not hasattr(loss, "probabilities"):
            return
        assert "classes" in taken, "probabilities are of classes"
        for scale in (0.0, 1.0, 100.0):
            p = loss.probabilities(scale * torch.randn(20, 10))
            assert ((p >= 0) & (p <= 1)).all()
            torch.testing.assert_close(p.sum(dim=1), torch.ones(20))
        likeliest = loss.probabilities(torch.eye(10)).argmax(dim=1)
        assert torch.equal(likeliest, torch.arange(10)), "it is the class of the largest output"

    def test_says_what_it_is(self, loss):
        assert type(loss).__doc__
        if hasattr(loss, "probabilities"):
            assert loss.probabilities.__doc__, "a comparison names the mapping by it"


@pytest.mark.parametrize("choice", choices("data"))
def test_a_data_module_is_lightnings_and_keeps_what_it_says_to_models(choice):
    cfg = choose("data", choice).data
    assert issubclass(resolve_name(cfg._target_), L.LightningDataModule)
    if missing(compose(f"data={choice}").data):
        return  # it cannot be built without a user's files
    data = instantiate(cfg)
    classes = getattr(type(data), "classes", None)  # of a property, no files are read here
    if "num_classes" in cfg and isinstance(classes, list | tuple):
        assert len(classes) == cfg.num_classes
    if "shape" in cfg and hasattr(data, "normalize"):
        inputs = torch.randint(0, 256, (2, *cfg.shape), dtype=torch.uint8)
        assert data.normalize(inputs).dtype == torch.float32


@pytest.mark.parametrize("choice", choices("module"))
def test_a_module_is_lightnings_and_its_loss_step_has_the_contracts_parameters(choice):
    module = resolve_name(choose("module", choice).module._target_)
    assert issubclass(module, L.LightningModule)
    if issubclass(module, Module):
        assert list(inspect.signature(module.loss_step).parameters) == ["self", "batch", "drawn"]


@pytest.mark.parametrize("choice", choices("optimizer"))
def test_an_optimizer_takes_parameters_and_descends(choice):
    cfg = choose("optimizer", choice).optimizer
    if "lr" in cfg:
        cfg.lr = 0.5
    parameter = nn.Parameter(torch.ones(3))
    optimizer = build_optimizer_factory(cfg)([parameter])
    parameter.sum().backward()
    optimizer.step()
    assert (parameter < 1).all()
    if "lr" in cfg:
        assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("choice", choices("experiment"))
def test_an_experiment_is_headed_by_its_purpose_and_command(choice):
    text = (CONF / "experiment" / f"{choice}.yaml").read_text()
    for word in ("# Purpose ", "# Cost ", "# Result ", "# Command "):
        assert word in text, f"{choice}.yaml should say its {word.strip('# ').lower()}"
    assert choose("experiment", choice).name.startswith(choice)


@pytest.fixture(scope="module")
def unwatched(tiny, tmp_path_factory) -> dict[str, Any]:
    """The record of a run without callbacks that only watch."""
    return train(compose(*tiny, "callback=checkpoint", folder=tmp_path_factory.mktemp("run")))


@pytest.mark.parametrize("choice", choices("callback"))
def test_a_callback_that_only_watches_changes_no_result(choice, unwatched, tiny, tmp_path):
    """Its YAML file says so, and a run with it is taken for the one without."""
    kept = compose("callback=checkpoint").callback.keys()
    cfg = compose(*tiny, f"callback=[{','.join({'checkpoint', choice})}]", folder=tmp_path)
    added = cfg.callback.keys() - kept
    assert all("_target_" in cfg.callback[name] for name in added)
    assert cfg.watchers.keys() <= cfg.callback.keys(), "a name under `watchers` is a callback's"
    if added <= {*watchers_of(cfg)}:
        assert is_of(unwatched, resolved_config(cfg))
        assert train(cfg)["metrics"] == unwatched["metrics"]


def test_the_best_checkpoint_is_chosen_by_the_primary_measure():
    config = OmegaConf.to_container(compose(), resolve=True)
    primary, *_ = declared_measures(config)
    assert compose().callback.best.monitor == f"val/{primary.name}"
    assert compose().callback.best.mode == ("max" if primary.higher_is_better else "min")
