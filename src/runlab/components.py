"""What a run is made of, built from its configuration: data, module, trainer."""

import re
from collections.abc import Collection, Mapping, Sequence
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from runlab.blocks.size import tell, trains_step_by_step
from runlab.config import received, targets
from runlab.config.messages import is_user_error, user_message
from runlab.config.parts import GROUPS, named_parts
from runlab.config.schema import accepted_parameters
from runlab.loggers.names import LoggedNames
from runlab.losses import require_mean_reduction, require_two_inputs
from runlab.measure import Measure, build_metrics, declared_measures, mode_of
from runlab.module import Module, stack_of_run
from runlab.optimizers import (
    ParameterGroup,
    build_optimizer_factory,
    parameter_groups,
    prepare_parameters,
    require_sparse_gradients,
)
from runlab.pretrained import load_pretrained
from runlab.runs.checkpoint import AtomicCheckpointIO, best_callback
from runlab.runs.features import check_features, check_flags
from runlab.runs.restart import ORIGIN
from runlab.schedules import build_schedule_factory


def build_components(
    cfg: DictConfig, config: dict[str, Any], *callbacks: L.Callback
) -> tuple[Any, L.LightningModule, L.Trainer]:
    """Data module, module and Trainer, seeded and ready to fit.

    Args:
        config: the same as plain values, for checkpoints.
        callbacks: beside those of the configuration.

    Raises:
        ValueError: for settings that cannot be trained.
    """
    torch.set_num_threads(cfg.threads)
    data = build_data(cfg)
    module = build_module(cfg)
    for name in {"config", ORIGIN} & set(module.hparams):
        raise ValueError(
            f"expected no hyperparameter {name} in {type(module).__name__}, as checkpoints hold "
            f"the run's {name} by that name: save_hyperparameters(ignore=[{name!r}])"
        )
    module.save_hyperparameters({"config": config}, logger=False)
    if not isinstance(module, Module):
        tell(trains_step_by_step(module))
    trainer = build_trainer(cfg, *callbacks, is_automatic=not isinstance(module, Module))
    check_features(module, trainer, config.get("test_weights", "best"))
    if isinstance(module, Module) and trainer.world_size == 1:
        module.stack = stack_of_run.get()
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    return data, module, trainer


def build(key: str, node: Any, place: str | None = None) -> Any:
    """What a node of the configuration makes, checked to be what its place demands.

    Raises:
        ValueError: if it is something else, or its class refuses what it gets.
    """
    made = built(key, node)
    base = targets.BASES[place or key]
    if not isinstance(made, targets.base_class(base)):
        raise ValueError(
            f"expected {key}._target_ to make a {base}, got a {type(made).__name__} by "
            f"{node._target_}: name another class"
        )
    return made


def built(key: str, node: Any) -> Any:
    """Raises ValueError, which names the node's key, if its class refuses what it gets."""
    try:
        return instantiate(node)
    except InstantiationException as error:
        if not is_user_error(error):
            raise
        reason = user_message(error)
        if reason.startswith(("expected", "unknown")) or ": expected" in reason:
            raise ValueError(reason) from error
        raise ValueError(f"cannot build {key} by {node._target_}: {reason}") from error


def build_data(cfg: DictConfig) -> Any:
    """The data module, its data fetched and verified."""
    data: Any = built("data", cfg.data)
    if getattr(data, "num_workers", 0) > 0 and current_process().name.startswith("Loky"):
        raise ValueError(
            "expected data.num_workers=0 inside joblib's processes, where a DataLoader can't start "
            f"its own, got {data.num_workers}: use hydra/launcher=basic, or no workers"
        )
    data.prepare_data()
    return data


def require_data(
    checksum: str | None, data: Any, run: Path, otherwise: str = "say by --data-dir where they are"
) -> None:
    """Raises ValueError unless a data module has the data, by their checksum, of a run."""
    require_checksum(checksum, getattr(data, "checksum", None), run, otherwise)


def data_checksum(cfg: DictConfig) -> str | None:
    """None of data that have none."""
    return getattr(build_data(cfg), "checksum", None)


def require_checksum(checksum: str | None, now: str | None, run: Path, otherwise: str) -> None:
    """Raises ValueError unless this, the checksum of the data now, is the one of a run."""
    if checksum != now:
        raise ValueError(
            f"expected the data of {run} (checksum {checksum}), got others (checksum {now}): "
            f"{otherwise}"
        )


def build_module(cfg: DictConfig) -> L.LightningModule:
    """The module with the parts that it names, its initial weights a function of the seed alone."""
    named = named_parts(cfg.module)
    groups = groups_of(cfg, named)
    parts: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):  # networks are built on the CPU
        torch.manual_seed(cfg.seed)
        for part in (each for each in GROUPS if each in named):
            parts[part] = build_part(cfg, part, groups)
        settings = {
            "gradient_clip": cfg.trainer.get("gradient_clip_val"),
            "accumulate_grad_batches": cfg.trainer.get("accumulate_grad_batches", 1),
        }
        parts |= {name: value for name, value in settings.items() if name in named}
        metrics = build_metrics(cfg, instantiate)
        if "metrics" in named:
            parts["metrics"] = metrics
        elif metrics is not None:
            raise ValueError(
                f"expected no metric that the engine computes ({', '.join(map(str, metrics))}), as "
                f"{cfg.module._target_} takes no metrics: log it in the module, and leave its "
                "_target_ out, or give the module a parameter metrics"
            )
        module: L.LightningModule = instantiate(cfg.module, _partial_=True)(**parts)
    prepare_parameters(module, groups)
    if isinstance(module, Module):
        module.seed = cfg.seed
        module.gradient_clip_algorithm = cfg.trainer.get("gradient_clip_algorithm") or "norm"
        for name in settings.keys() - named - set(cfg.module):
            setattr(module, name, settings[name])
    if (optimizer := parts.get("optimizer")) is not None:
        require_sparse_gradients(optimizer, module)
    if (schedule := parts.get("scheduler")) is not None:
        schedule.module = module
        require_mode("scheduler", schedule, declared_measures(cfg))
    return module


def build_part(cfg: DictConfig, part: str, groups: Sequence[ParameterGroup]) -> Any:
    """What a module gets by this parameter of its constructor."""
    node = cfg[GROUPS[part]]
    if part == "optimizer":
        return build_optimizer_factory(node, groups)
    if part == "scheduler":
        return build_schedule_factory(node)
    built = build(GROUPS[part], node)
    if part == "loss":
        require_two_inputs(built)
        require_mean_reduction(built)
    if part == "network" and (given := pretrained_of(cfg)) is not None:
        load_pretrained(built, given.file, given.into, given.leave_out)
    return built


def groups_of(cfg: DictConfig, named: Collection[str]) -> list[ParameterGroup]:
    """Those of the configuration, and whether the module takes what they are for.

    Raises:
        ValueError: if it does not.
    """
    nodes = cfg.get("parameter_groups")
    groups = parameter_groups(None if nodes is None else OmegaConf.to_container(nodes))
    target = cfg.module["_target_"]
    if "optimizer" not in named and not all(each.frozen for each in groups):
        raise ValueError(
            f"expected parameter_groups that are frozen alone, as {target} takes no optimizer, got "
            "others: give these in its configure_optimizers"
        )
    if "network" not in named and pretrained_of(cfg) is not None:
        raise ValueError(
            f"expected no pretrained.file, as {target} takes no network, got "
            f"{cfg.pretrained.file}: load the weights in its constructor"
        )
    return groups


def pretrained_of(cfg: DictConfig) -> DictConfig | None:
    node = cfg.get("pretrained")
    return None if node is None or node.file is None else node


OWN_STEPS = {
    "gradient_clip_val": None,
    "gradient_clip_algorithm": None,
    "accumulate_grad_batches": 1,
}
"""What Lightning gets of settings that a `Module` heeds by itself."""


def build_trainer(cfg: DictConfig, *others: L.Callback, is_automatic: bool = False) -> L.Trainer:
    """Lightning's, with the configuration's callbacks and loggers, and `others` after them.

    Args:
        is_automatic: whether Lightning takes the optimizer steps.

    Raises:
        ValueError: for a callback that takes the worse of two values for the better one, or if
            nothing says which checkpoint is the best.
    """
    measures = declared_measures(cfg)
    callbacks = build_callbacks(cfg, measures)
    best_callback(callbacks, measures)
    check_flags(cfg.trainer, callbacks)
    loggers = [build(f"logger.{k}", node, "logger") for k, node in (cfg.logger or {}).items()]
    trainer: L.Trainer = make_trainer(
        cfg.trainer,
        callbacks=[LoggedNames(), *callbacks, *others],
        logger=loggers,
        **({} if is_automatic else OWN_STEPS),
        enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
        enable_progress_bar=any(isinstance(each, ProgressBar) for each in callbacks),
    )
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
    return trainer


def make_trainer(node: DictConfig, **given: Any) -> L.Trainer:
    """Raises ValueError for what Lightning does not take."""
    make = instantiate(node)
    if not callable(make):
        raise ValueError(
            f"expected trainer with _partial_: true, as conf/trainer has it, got {node._target_} "
            "without: choose trainer=…"
        )
    try:
        made = make(**given)
    except (ValueError, TypeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot build trainer by {node._target_}: {reason}") from error
    if not isinstance(made, L.Trainer):
        raise ValueError(
            f"expected trainer._target_ to make a lightning.Trainer, got a {type(made).__name__} "
            f"by {node._target_}: choose trainer=…"
        )
    return made


def build_callbacks(cfg: DictConfig, measures: Sequence[Measure]) -> list[L.Callback]:
    callbacks = []
    for key, node in (cfg.callback or {}).items():
        given = node.get("mode") if OmegaConf.is_dict(node) else None
        monitor = node.get("monitor") if OmegaConf.is_dict(node) else None
        if monitor is not None and given is None and mode_of(monitor, measures) is None:
            raise ValueError(
                f"expected callback.{key}.mode=min or max, as the module declares no measure "
                f"{monitor}, got none: say which is better"
            )
        callback = build(f"callback.{key}", node, "callback")
        require_mode(f"callback.{key}", callback, measures)
        callbacks.append(callback)
    return callbacks


def require_mode(key: str, callback: object, measures: Sequence[Measure]) -> None:
    """Raises ValueError if what follows a metric takes the worse of two values for the better."""
    monitor, mode = (getattr(callback, name, None) for name in ("monitor", "mode"))
    better = mode_of(str(monitor), measures)
    if mode in ("min", "max") and better not in (None, mode):
        raise ValueError(
            f"expected {key}.mode={better}, as the module declares {monitor}, got {mode}: give "
            f"++{key}.mode={better}, or leave out what changes it"
        )


# From a configuration that was received


def located(config: Mapping[str, Any], data_dir: str | None) -> dict[str, Any]:
    """The configuration with its data on this machine, where they may lie elsewhere.

    Into a folder that only the file names nothing is fetched: `download` is off, where the data
    module has it.

    Raises:
        ValueError: if nobody says where, and the folder that it names is not there: it is not made.
    """
    data = config["data"]
    target = targets.find("data._target_", data.get("_target_"), targets.BASES["data"])
    taken = accepted_parameters(target)
    if data_dir is not None and (taken is None or "root" in taken):
        return {**config, "data": {**data, "root": data_dir}}
    if "root" in data and not Path(str(data["root"])).is_dir():
        raise ValueError(
            f"expected the run's data in {data['root']}, got no such folder: say by data_dir=… (or "
            "--data-dir) where they are, or where to fetch them to"
        )
    fetches = taken is None or "download" in taken
    return {**config, "data": {**data, "download": False} if fetches else data}


def received_data(config: Mapping[str, Any]) -> Any:
    """The data module of a received configuration, its data fetched and verified."""
    data = targets.build("data", config)
    try:
        data.prepare_data()
    except ValueError as error:
        if config["data"].get("download") is not False:
            raise
        raise ValueError(
            f"{error}; for a file from elsewhere data are fetched to no place but one that you "
            "name by data_dir=… (or --data-dir)"
        ) from error
    return data


def to_train_again(config: Mapping[str, Any], **run: Any) -> DictConfig:
    """The configuration of a run that is trained again, in a folder of its own.

    Args:
        run: where the new one lies, as in `RunLocation`: its texts are taken as they are.

    Raises:
        ValueError: if the configuration names what it may not, or places outside of that folder,
            or lacks what its module is built of.
    """
    received.check(config, runs=True)
    for group in (group for part, group in GROUPS.items() if part in named_parts(config["module"])):
        if group != "scheduler" and config.get(group) is None:
            raise ValueError(
                f"expected config.{group}, which {config['module']['_target_']} is built of, got "
                "none: restore the run's record"
            )
    trainer = {"default_root_dir": "${run.folder}", **config["trainer"]}
    return OmegaConf.create({**config, "trainer": trainer, "run": literal(run)})


def literal(value: Any) -> Any:
    """The same nested value, of whose texts OmegaConf resolves nothing."""
    if isinstance(value, Mapping):
        return {key: literal(child) for key, child in value.items()}
    if isinstance(value, list):
        return [literal(child) for child in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\${", value)
    return value
