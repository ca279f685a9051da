"""A user's mistake as one clear sentence."""

import pkgutil
import sys
from dataclasses import fields

from hydra.errors import (
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import YAMLError

from runlab.cli.loading import loading
from runlab.config.schema import Train, accepted_parameters, unknown
from runlab.text import printable

USER_ERRORS = (
    ValueError,
    OSError,
    HydraException,
    OmegaConfBaseException,
    YAMLError,
)
"""And Lightning's MisconfigurationException, which only what has imported torch can raise."""

OPTIONAL_PACKAGES = {"hydra/sweeper/optuna": "hydra-optuna-sweeper"}
"""Choices that optional packages bring along."""

HINTS = {
    "accelerator": "trainer=default takes the device that is there",
    "backend found": "trainer=default takes the device that is there",
}
"""What to do about what Lightning says, by a part of its message."""


def is_user_error(error: BaseException) -> bool:
    """Whether a user's input is to blame, rather than a bug of ours or of a user's component."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        cause = error.__cause__
        return isinstance(cause, (*USER_ERRORS, TypeError, ImportError)) or is_lightnings(cause)
    return isinstance(error, USER_ERRORS) or is_lightnings(error)


def is_lightnings(error: BaseException) -> bool:
    """Whether Lightning refuses what it was given, asked without importing it."""
    lightning = sys.modules.get("lightning.fabric.utilities.exceptions")
    return lightning is not None and isinstance(error, lightning.MisconfigurationException)


def user_message(error: BaseException) -> str:
    """What is wrong, what would be right, and what to do; the causes of an exception included.

    One line, and safe for a terminal.
    """
    return printable(sentence_of(error))


def sentence_of(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(error, OverrideParseException):
        problem, _, _ = str(error).partition("\n")
        hint = ": a value that holds = is quoted twice, 'name=\"a=b\"'" * ("input '='" in problem)
        return f"cannot read {error.override} ({problem}){hint}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in OPTIONAL_PACKAGES:
        package = OPTIONAL_PACKAGES[error.missing_cfg_file]
        return (
            f"expected {package} to be installed, which brings {error.missing_cfg_file}, "
            f"got no such package: pip install {package}"
        )
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return unknown(f"{group}={choice}", choice, "choice", error.options)
    if isinstance(error, ConfigKeyError | ConfigAttributeError) and error.parent_node is not None:
        return unknown_key(error)
    if isinstance(error, MissingMandatoryValue):
        return f"expected a value for {error.full_key}: give {error.full_key}=…"
    if isinstance(error, ValidationError):
        return mistyped(error)
    if isinstance(error, InstantiationException) and cause is not None:
        return sentence_of(cause)
    if isinstance(error, InterpolationResolutionError) and cause is not None:
        return sentence_of(cause)  # what a resolver raised
    if is_lightnings(error):
        hints = {hint for part, hint in HINTS.items() if part in str(error)}
        return " ".join([*str(error).split(), *(f"({hint})" for hint in hints)])
    if isinstance(error, OSError) and error.filename:
        reason = error.strerror or " ".join(map(str, error.args)) or type(error).__name__
        return f"cannot use {error.filename}: {reason}"
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        place, _, _ = str(error).partition(":")
        return f"{place}: {sentence_of(cause)}" if place.startswith("In ") else sentence_of(cause)
    return " ".join(str(error).split()) or type(error).__name__


def unknown_key(error: ConfigKeyError | ConfigAttributeError) -> str:
    """For a key that the configuration does not have, though its `_target_` may take it."""
    node = error.parent_node
    key, full_key = str(error.key), str(error.full_key)
    keys = [str(each) for each in node] if OmegaConf.is_dict(node) else []
    if key in parameters_of(node):
        return f"{full_key} is not in the configuration yet: add it by +{full_key}=…"
    return unknown(full_key, key, "key", {k for k in keys if k != "hydra" and k[0] != "_"})


def parameters_of(node: object) -> set[str]:
    """What the node's `_target_` takes; nothing if it has none that can be imported."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return set()
    try:
        with loading():
            target = pkgutil.resolve_name(node["_target_"])
        return accepted_parameters(target) or set()
    except (ImportError, AttributeError, ValueError, TypeError):
        return set()


def mistyped(error: ValidationError) -> str:
    """For a value of the wrong type: the key, the type it has to have, and what was given."""
    types = {field.name: getattr(field.type, "__name__", field.type) for field in fields(Train)}
    message = str(error).splitlines()[0]
    if error.full_key not in types:
        return message
    if "expected one of" in message:
        return f"{error.full_key}: {message}"
    return f"expected {error.full_key} to be of type {types[error.full_key]}: {message}"
