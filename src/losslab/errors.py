"""A user's mistake as one clear sentence."""

from dataclasses import fields

from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from losslab.config import Train, unknown

USERS = (ValueError, HydraException, OmegaConfBaseException, OSError)


def sentence(error: BaseException) -> str:
    """What is wrong, what would be right, and what to do; the causes of an exception included."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return unknown(f"{group}={choice}", choice, "choice", error.options)
    if isinstance(error, ConfigKeyError | ConfigAttributeError) and error.parent_node is not None:
        valid = [str(key) for key in error.parent_node if key != "hydra"]
        return unknown(str(error.full_key), str(error.key), "key", valid)
    if isinstance(error, MissingMandatoryValue):
        return f"expected a value for {error.full_key}: give {error.full_key}=…"
    if isinstance(error, ValidationError):
        return mistyped(error)
    if isinstance(error, InstantiationException) and cause is not None:
        return sentence(cause)
    if isinstance(error, OSError) and error.filename:
        return f"cannot use {error.filename}: {error.strerror}"
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        place, _, _ = str(error).partition(":")
        return f"{place}: {sentence(cause)}" if place.startswith("In ") else sentence(cause)
    return " ".join(str(error).split())


def mistyped(error: ValidationError) -> str:
    """For a value of the wrong type: the key, the type it has to have, and what was given."""
    types = {field.name: getattr(field.type, "__name__", field.type) for field in fields(Train)}
    message = str(error).splitlines()[0]
    if error.full_key not in types:
        return message
    return f"expected {error.full_key} to be of type {types[error.full_key]}: {message}"
