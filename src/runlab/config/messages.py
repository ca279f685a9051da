"""A user's mistake as one clear sentence."""

import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_type_hints

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
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
    ValidationError,
)
from yaml import YAMLError

from runlab.cli.loading import loading
from runlab.config.kinds import kind_of, shown
from runlab.config.schema import accepted_parameters, unknown
from runlab.text import printable

USER_ERRORS = (ValueError, OSError, HydraException, OmegaConfBaseException, YAMLError)

OPTIONAL_PACKAGES = {"hydra/sweeper/optuna": "hydra-optuna-sweeper"}
"""Choices that optional packages bring along."""

HYDRAS = (
    (
        r"Ambiguous value for argument '(?P<given>.+?)' 1\. .*",
        "expected one value, got {given}: add -m to launch a run for each, write [a,b] for a list, "
        "or quote a text twice, 'key=\"a,b\"'",
    ),
    (
        r"Sweep parameters '(?P<given>.+)' requires --multirun",
        "expected one value, got {given}: add -m to launch a run for each",
    ),
    (
        r"Could not append to config\. An item is already at '(?P<key>[^']+)'\..*",
        "expected {key}=… without +, as the configuration has that key already, got +{key}: leave "
        "the + out",
    ),
    (
        r"Could not delete from config\. '(?P<key>[^']+)' does not exist\.",
        "expected ~ before a key that the configuration has, got ~{key}: leave it out, or correct "
        "the key",
    ),
    (
        r"Could not delete from config\. The value of '(?P<key>[^']+)' is (?P<is>.*) and not .*",
        "expected ~{key}, or with the value that it has, {is}: correct it",
    ),
    (
        r"Could not delete\. No match for '(?P<key>[^']+)' in the defaults list\.",
        "expected ~ before a group of the defaults list, got ~{key}: correct it, or leave it out",
    ),
    (
        r"(?P<where>In '[^']+': )?Could not load '(?P<file>[^']+)'\..*",
        "{where}expected a file conf/{file}.yaml, got none: correct that choice",
    ),
    (
        r"Cannot find primary config '(?P<file>[^']+)'\..*",
        "expected a file {file}.yaml in the folder of configurations, got none: name one that is "
        "there, such as train, or leave -cn out",
    ),
    (
        r"Primary config (?:module|directory) (?:'(?P<file>[^']+)')? ?not found.*",
        "expected a folder of configurations, got {file}, which is not there: correct -cp",
    ),
    (
        r"Additional config directory '(?P<file>[^']+)' not found",
        "expected a folder of configurations for -cd, got {file}, which is not there: correct it",
    ),
    (
        r"(?P<where>In '[^']+': )?Could not override '(?P<key>[^']+)'\. No match in .*",
        "{where}expected a group that the defaults list has, got {key}: correct it, or write "
        "+{key}=… for one that is added",
    ),
    (
        r"Multiple values for (?P<key>\S+?)\. .*",
        "expected one choice of {key}, got a second in a defaults list: write override /{key}: … "
        "there",
    ),
    (
        r"Duplicate _self_ defined in (?P<file>\S+)",
        "expected _self_ once in the defaults list of {file}, got it twice: remove one",
    ),
    (
        r"(?P<where>In '[^']+': )?Cannot merge DictConfig with ListConfig.*",
        "{where}expected keys with values, as in a: 1, got a list: correct it",
    ),
    (
        r"Please set either 'minimize' or 'maximize' to direction\..*",
        "expected hydra.sweeper.direction to be minimize or maximize, got another: correct it",
    ),
    (
        r"The `low` value must be smaller .* \(low=(?P<low>\S+), high=(?P<high>\S+)\)\.",
        "expected an interval from its lower end to its upper one, got interval({low},{high}): "
        "exchange them",
    ),
    (
        r"(?P<why>while (?:parsing|scanning) .*)",
        "expected YAML, got what cannot be read {why}: correct that file",
    ),
    (
        r"The --(?P<flag>resolve|package) flag can only be used .*",
        "expected --{flag} together with --cfg, got it alone: add --cfg job",
    ),
)
"""What Hydra says, and the sentence for it."""

DEVICES = "trainer=default takes the device that is there"
HINTS = {"accelerator": DEVICES, "backend found": DEVICES}
"""What to do about what Lightning says, by a part of its message."""


def is_user_error(error: BaseException) -> bool:
    """Whether a user's input is to blame, rather than a bug of ours or of a user's component."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        cause = error.__cause__
        return is_lightnings(cause) or isinstance(cause, (*USER_ERRORS, TypeError, ImportError))
    return is_lightnings(error) or isinstance(error, USER_ERRORS)


def is_lightnings(error: BaseException) -> bool:
    """Whether Lightning says that it is used in a wrong way, if it has been imported at all."""
    module = sys.modules.get("lightning.fabric.utilities.exceptions")
    return module is not None and isinstance(error, module.MisconfigurationException)


def require_not_raised_by(key: str, part: object, error: Exception) -> None:
    """Raises ValueError in place of an error that came up in a method of this part of a run.

    A message of torch's rarely says which setting it is about. A sentence of ours stays as it is,
    and so does one about memory, for which no part is to blame.
    """
    is_ours = isinstance(error, ValueError) and str(error).startswith(("expected", "unknown"))
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if is_ours or not any(frame.f_locals.get("self") is part for frame in frames):
        return
    reason = reason_of(error)
    if isinstance(error, MemoryError) or "out of memory" in reason:
        return
    raise ValueError(
        f"cannot use {key} {type(part).__name__}: {reason}; correct {key}.…, or see traceback.txt "
        "in the run's folder"
    ) from error


def reason_of(error: Exception) -> str:
    """What an error of any kind says; with its kind, where the words alone may say little."""
    words = " ".join(str(error).split())
    if words and isinstance(error, ValueError | RuntimeError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def user_message(error: BaseException) -> str:
    """What is wrong, what would be right, and what to do; the causes of an exception included.

    One line, and safe for a terminal.
    """
    return printable(sentence_of(error))


def sentence_of(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(error, OverrideParseException):
        return unreadable(error.override)
    if isinstance(error, MissingConfigException):
        return missing(error)
    if isinstance(error, ConfigKeyError | ConfigAttributeError) and error.parent_node is not None:
        return unknown_key(error)
    if isinstance(error, MissingMandatoryValue):
        return f"expected a value for {error.full_key}: give {error.full_key}=…"
    if isinstance(error, ValidationError):
        return mistyped(error)
    if isinstance(error, InterpolationKeyError | UnsupportedInterpolationType):
        return unresolved(error)
    if isinstance(error, InterpolationResolutionError):
        own = str(error)
        if "Environment variable" in own or cause is None:
            return unresolved(error)
        return sentence_of(cause)  # what a resolver raised
    if isinstance(error, InstantiationException) and cause is not None:
        return sentence_of(cause)
    if is_lightnings(error):
        hints = {hint for part, hint in HINTS.items() if part in str(error)}
        return " ".join([*str(error).split(), *(f"({hint})" for hint in hints)])
    if isinstance(error, UnicodeDecodeError):
        return (
            f"expected text in UTF-8, got the byte {error.object[error.start]:#x} at position "
            f"{error.start}: save the file in UTF-8"
        )
    if isinstance(error, OSError) and error.filename:
        reason = error.strerror or " ".join(map(str, error.args)) or type(error).__name__
        return f"cannot use {error.filename}: {reason}"
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        place, _, _ = str(error).partition(":")
        return f"{place}: {sentence_of(cause)}" if place.startswith("In ") else sentence_of(cause)
    return in_other_words(" ".join(str(error).split())) or type(error).__name__


def in_other_words(message: str) -> str:
    """A sentence in place of what Hydra or OmegaConf says; any other message as it is."""
    for pattern, sentence in HYDRAS:
        if found := re.fullmatch(pattern, message):
            return sentence.format(**{k: v or "" for k, v in found.groupdict().items()})
    return message


def unreadable(override: str) -> str:
    """For an argument that Hydra's grammar does not take."""
    if not override.strip():
        return "expected key=value, got an empty argument: leave it out"
    if "=" not in override and not override.startswith("~"):
        return (
            f"expected key=value, got {override}: write {override}=…, and no space in a list, a,b"
        )
    if re.fullmatch(r"[^'\"\[{(]*,", override):
        return (
            f"expected another value after the comma of {override}: write it there, without a space"
        )
    return (
        f"cannot read {override}: expected key=value with brackets and quotes closed; a value that "
        "holds = , ( ) [ ] { } or quotes is quoted twice, 'key=\"a=b\"'"
    )


def missing(error: MissingConfigException) -> str:
    file = str(error.missing_cfg_file)
    if file in OPTIONAL_PACKAGES:
        package = OPTIONAL_PACKAGES[file]
        return (
            f"expected {package} to be installed, which brings {file}, got no such package: pip "
            f"install {package}"
        )
    if error.options:
        group, _, choice = file.rpartition("/")
        return unknown(f"{group}={choice}", choice, "choice", error.options)
    return in_other_words(" ".join(str(error.args[0]).split()))


def unresolved(error: OmegaConfBaseException) -> str:
    """For `${…}` that stands for nothing: where it is written, which hydra.run.dir may only use."""
    message = str(error).splitlines()[0]
    if found := re.search(r"Environment variable '([^']+)'", message):
        key, value = place_of(error, rf"oc\.env:\s*{re.escape(found[1])}\b")
        return (
            f"expected the environment variable {found[1]}, which {key}={value} names, got none: "
            f"set it, or give a default, ${{oc.env:{found[1]},…}}"
        )
    if found := re.search(r"Interpolation key '([^']+)' not found", message):
        key, value = place_of(error, rf"\$\{{\s*{re.escape(found[1])}\s*\}}")
        return (
            f"expected ${{{found[1]}}} to name a key of the configuration, got none of that name "
            f"in {key}={value}: correct it"
        )
    if found := re.search(r"Unsupported interpolation type (\S+)", message):
        key, value = place_of(error, rf"\$\{{\s*{re.escape(found[1])}:")
        return (
            f"expected a resolver such as oc.env in {key}={value}, got {found[1]}, which is none: "
            "correct it"
        )
    if "Recursive interpolation" in message:
        return f"expected a value for {error.full_key}, got one that refers to itself: give it one"
    return message


def place_of(error: OmegaConfBaseException, pattern: str) -> tuple[str, str]:
    """The key whose value holds such an interpolation, and that value."""
    node: Any = error.parent_node
    values = [] if node is None else texts(OmegaConf.to_container(node._get_root()), "")
    found = [(key, text) for key, text in values if re.search(pattern, text)]
    found.sort(key=lambda each: each[0].startswith("hydra."))  # which repeats the command line
    return found[0] if found else (str(error.full_key), "…")


def texts(node: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from texts(value, f"{key}.{name}" if key else str(name))


def groups_with(node: Any, key: str) -> list[str]:
    """The groups of a configuration that have this key."""
    content: Any = OmegaConf.to_container(node) if OmegaConf.is_dict(node) else {}
    return [
        str(group)
        for group, own in content.items()
        if group not in ("hydra", "run") and isinstance(own, dict) and key in own
    ]


def unknown_key(error: ConfigKeyError | ConfigAttributeError) -> str:
    """For a key that the configuration does not have, though its `_target_` may take it."""
    node = error.parent_node
    key, full_key = str(error.key), str(error.full_key)
    if key == full_key == "experiment":
        return (
            "expected # @package _global_ in the first line of an experiment's file, got none: add "
            "it, so that the file's keys are those of the whole configuration"
        )
    keys = [str(each) for each in node] if OmegaConf.is_dict(node) else []
    if key in parameters_of(node):
        return f"{full_key} is not in the configuration yet: add it by +{full_key}=…"
    if key == full_key and (inner := groups_with(node, key)):
        return f"unknown key {key}; did you mean {' or '.join(f'{each}.{key}' for each in inner)}?"
    valid = {k for k in keys if k not in ("hydra", "run") and k[0] != "_"}
    if not valid:
        return f"{full_key} is not in the configuration yet: add it by +{full_key}=…"
    return unknown(full_key, key, "key", valid)


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
    """For a value of the wrong type: the key, what it has to be, and what was given."""
    owner, key = error.object_type, str(error.key)
    hints = get_type_hints(owner) if is_dataclass(owner) else {}
    if key not in hints:
        return in_other_words(str(error).splitlines()[0])
    value = error.value
    if isinstance(error, InterpolationResolutionError):  # of which it says no value
        value = re.search(r"'(.*?)'", str(error))
        value = value and value[1]
    return f"expected {error.full_key} to be {kind_of(hints[key])}, got {shown(value)}"
