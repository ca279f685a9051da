"""Any optimizer by YAML alone, and groups of parameters by their names."""

import pytest
import torch
from torch import nn, optim

from runlab.config.schema import check
from runlab.optimizers import (
    OptimizerFactory,
    build_optimizer_factory,
    parameter_groups,
    prepare_parameters,
    require_sparse_gradients,
)
from runlab.runs.lifecycle import resolved_config
from tests.compose import compose

ALL = sorted(
    name
    for name, each in vars(optim).items()
    if isinstance(each, type) and issubclass(each, optim.Optimizer) and each is not optim.Optimizer
)
REFUSED = {
    "LBFGS": "takes its step by one gradient, got torch.optim.lbfgs.LBFGS",
    "Muon": "Muon only supports 2D parameters",
    "SparseAdam": r"expected a network with nn.Embedding\(sparse=True\)",
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(inputs))


def take_step(factory, network: nn.Module) -> optim.Optimizer:
    require_sparse_gradients(factory, network)
    optimizer = factory(network.named_parameters())
    nn.functional.cross_entropy(network(torch.randn(8, 4)), torch.arange(8) % 2).backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("name", ALL)
def test_every_optimizer_of_torch_takes_a_step_or_is_refused_by_name(name):
    cfg = compose(f"optimizer._target_=torch.optim.{name}")  # from sgd.yaml
    network = Net()
    before = network.head.weight.clone()
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            take_step(build_optimizer_factory(cfg.optimizer), network)
        assert torch.equal(network.head.weight, before)
        return
    optimizer = take_step(build_optimizer_factory(cfg.optimizer), network)
    assert type(optimizer) is getattr(optim, name)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert not torch.equal(network.head.weight, before)


def test_a_parameter_needs_no_plus_and_a_mistyped_one_is_told():
    cfg = compose("optimizer=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true")
    [group] = take_step(build_optimizer_factory(cfg.optimizer), Net()).param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 0)
    mistyped = resolved_config(compose("optimizer.momentm=0.9"))
    with pytest.raises(ValueError, match=r"optimizer\.momentm; did you mean momentum\?"):
        check(mistyped)


def groups_of(*entries):
    return parameter_groups(list(entries))


def test_the_first_entry_that_matches_counts_and_the_rest_come_first():
    network = Net()
    groups = groups_of(
        {"pattern": "head.*", "lr_scale": 10},
        {"pattern": "*", "max_ndim": 1, "weight_decay": 0.0},
    )
    prepare_parameters(network, groups)
    factory = OptimizerFactory(optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}, groups)
    rest, head, small = take_step(factory, network).param_groups
    assert [len(each["params"]) for each in (rest, head, small)] == [1, 2, 3]
    assert rest["params"][0] is network.backbone[0].weight
    assert (rest["lr"], rest["weight_decay"]) == (0.01, 0.1)
    assert (head["lr"], head["weight_decay"]) == (0.1, 0.1)
    assert (small["lr"], small["weight_decay"]) == (0.01, 0.0)


def test_what_is_frozen_keeps_its_weights_and_its_statistics():
    network = Net()
    groups = groups_of({"pattern": "backbone.*", "frozen": True})
    prepare_parameters(network, groups)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    take_step(OptimizerFactory(optim.SGD, {"lr": 1.0}, groups), network)
    changed = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"head.weight", "head.bias"}
    assert network.head.training
    assert not network.backbone[2].training


def test_without_groups_parameters_are_a_plain_list():
    network = Net()
    factory = OptimizerFactory(optim.SGD, {"lr": 0.1})
    [of_pairs] = factory(network.named_parameters()).state_dict()["param_groups"]
    [plain] = factory(network.parameters()).state_dict()["param_groups"]
    assert of_pairs == plain
    assert "param_names" not in plain


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([{"pattern": "heads.*", "lr": 1}], r"parameter_groups\[0\]\.pattern to match a param"),
        ([{"pattern": "*", "lr": 1}, {"pattern": "head.*", "lr": 2}], r"\[1\]\.pattern to match"),
        ([{"pattern": "head.*", "lr": 1, "lr_scale": 2}], "got both"),
        ([{"pattern": "head.*", "frozen": True, "lr": 1}], "nothing beside frozen .* got lr"),
        ([{"pattern": "head.*", "wd": 1}], r"parameter_groups\[0\]\.wd; .*expected one of"),
        (
            [{"pattern": "head.*", "lr_scal": 1}],
            r"\[0\]\.lr_scal; did you mean lr_scale\? expected one of: dampening, .*, frozen, "
            "fused, lr, lr_scale, max_ndim, maximize, momentum, nesterov, pattern, weight_decay$",
        ),
        ([{"pattern": "head.*"}], "got its pattern alone"),
        ([{"lr": 1}], "with a pattern"),
        ([{"pattern": "*", "frozen": True}], "at least one parameter to train"),
    ],
)
def test_an_entry_that_cannot_be_is_told(entries, told):
    with pytest.raises(ValueError, match=told):
        build(entries, Net())


def build(entries, network: nn.Module) -> optim.Optimizer:
    groups = parameter_groups(entries)
    prepare_parameters(network, groups)
    return OptimizerFactory(optim.SGD, {"lr": 0.1}, groups)(network.named_parameters())


def test_groups_ask_for_names():
    groups = groups_of({"pattern": "head.*", "lr": 1})
    with pytest.raises(ValueError, match=r"give the optimizer self\.named_parameters\(\)"):
        OptimizerFactory(optim.SGD, {"lr": 0.1}, groups)(Net().parameters())
