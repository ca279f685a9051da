"""Which of Hydra's launchers train on the machine that launches."""

from omegaconf import DictConfig

LOCAL_LAUNCHERS = (
    "hydra._internal.core_plugins.basic_launcher.",
    "hydra_plugins.hydra_joblib_launcher.",
    "hydra_plugins.stacked_launcher.",
)
"""Where the classes are of launchers that train on this machine. Others may send runs elsewhere."""


def trains_here(launcher: DictConfig) -> bool:
    """Whether its runs are trained on this machine, as far as that is known."""
    return str(launcher.get("_target_")).startswith(LOCAL_LAUNCHERS)
