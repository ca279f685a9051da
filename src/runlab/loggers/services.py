"""Loggers of services that need more than their constructor to serve a sweep."""

from pathlib import Path

from filelock import FileLock
from lightning.pytorch.loggers import MLFlowLogger


def mlflow(folder: str | Path, experiment_name: str, run_name: str) -> MLFlowLogger:
    """Lightning's logger for MLflow; all runs of a sweep share `mlflow.db` beside their folders.

    MLflow can't create a database or an experiment in two processes at once: they take turns.

    Raises:
        ModuleNotFoundError: if MLflow is not installed.
    """
    sweep = Path(folder).resolve().parent
    with FileLock(sweep / "mlflow.db.lock"):
        logger = MLFlowLogger(
            experiment_name, run_name, tracking_uri=f"sqlite:///{sweep / 'mlflow.db'}"
        )
        client = logger._mlflow_client
        if client.get_experiment_by_name(experiment_name) is None:
            client.create_experiment(experiment_name, str(sweep / "mlflow"))
    return logger
