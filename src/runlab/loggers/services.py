"""What the loggers of other services need besides their constructor to serve a sweep."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from uuid import uuid4

from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

from runlab.config.targets import configurable
from runlab.runs.lock import take_turns


@configurable
def mlflow(folder: str | Path, experiment_name: str, run_name: str) -> MLFlowLogger:
    """Lightning's logger for MLflow; all runs of a sweep share `mlflow.db` beside their folders.

    MLflow can't create a database or an experiment in two processes at once: they take turns.

    Raises:
        ModuleNotFoundError: if MLflow is not installed.
    """
    sweep = Path(folder).resolve().parent
    with take_turns(sweep / "mlflow.db.lock", "open MLflow's database"):
        logger = MLFlowLogger(
            experiment_name, run_name, tracking_uri=f"sqlite:///{sweep / 'mlflow.db'}"
        )
        client = logger._mlflow_client
        if client.get_experiment_by_name(experiment_name) is None:
            client.create_experiment(experiment_name, str(sweep / "mlflow"))
    return logger


def continue_service_runs(loggers: Iterable[Logger], run_ids: Mapping[str, str]) -> None:
    """Has each service keep a run as one, whichever process logs: the one of before, if resumed.

    Args:
        run_ids: of a run that is resumed, as `service_run_ids` returned them.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger._wandb_init["id"] = run_ids.get("WandbLogger", uuid4().hex[:8])
        elif isinstance(logger, MLFlowLogger):
            logger._run_id = run_ids.get("MLFlowLogger") or logger.run_id


def service_run_ids(loggers: Iterable[Logger]) -> dict[str, str]:
    """Under which ids services keep the run, by the class of their logger."""
    return {
        kind.__name__: str(logger.version)
        for kind in (MLFlowLogger, WandbLogger)
        for logger in loggers
        if isinstance(logger, kind)
    }


def close_service_runs(loggers: Iterable[Logger], exit_code: int) -> None:
    """Ends what Lightning leaves open until the process ends, which may train other runs too."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish(exit_code)
