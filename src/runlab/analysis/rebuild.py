"""A sweep's comparison written anew, by one process at a time, and given to its outputs."""

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from runlab import program
from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.section import load_named, told
from runlab.analysis.write import write
from runlab.config.targets import full_name
from runlab.runs import record
from runlab.runs.lock import take_turns

LOCK = ".comparison.lock"

Output = Callable[[Comparison], object]


def rebuild(
    sweep: Path,
    metric: str | None = None,
    margin: float | None = None,
    show: Output = lambda comparison: None,
    outputs: Iterable[Output] = (),
    arm: str | None = None,
    rate: str | None = None,
) -> Comparison:
    """Writes the comparison of the records as they are; one that began earlier never ends later.

    Args:
        metric, margin, arm, rate: as `compare` takes them.
        show: called with the comparison once all is written, whatever becomes of the outputs.
        outputs: functions that get the comparison then, beside those that the runs name in their
            `comparison.outputs`. No function is called twice, and none for a comparison by another
            measure than the primary one. One that they may not name, that is gone, or that takes
            something else than a comparison, is a warning.

    Raises:
        ValueError: if there is nothing to compare, or it can't be written.
        ValueError, OSError: if outputs failed, once all were called. Whatever one that the runs
            name has raised is told by its name; what others raise beside these is raised at once.
    """
    record.require_runs(sweep)  # so that the lock makes no folder
    with comparison_lock(sweep):
        comparison = compare(sweep, metric, margin, arm, rate)
        functions: list[Output] = []
        named: list[Output] = []
        if comparison.measure == comparison.primary:
            named, problems = load_named("output", comparison.outputs, usable)
            functions = list(dict.fromkeys([*named, *outputs]))
            comparison = replace(comparison, warnings=[*comparison.warnings, *problems])
        write(comparison)
        errors = call_outputs(functions, comparison, named)
    show(comparison)  # last, as nothing waits then for whoever reads it
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ValueError("\n".join(map(str, errors)))
    return comparison


@contextmanager
def comparison_lock(sweep: Path, limit: float = 600.0) -> Iterator[None]:
    """Waits until no other process writes the comparison of this sweep."""
    with ExitStack() as stack:
        try:
            stack.enter_context(take_turns(sweep / LOCK, "write the comparison", limit))
        except TimeoutError:
            raise
        except OSError as error:
            raise ValueError(
                f"expected to write the comparison into {sweep}, got: {error.strerror}; free the "
                f"place or its permissions and run {program.name()} compare again"
            ) from error
        yield


def usable(output: Output) -> Output:
    """Raises ValueError unless it can be called with a comparison alone."""
    try:
        inspect.signature(output).bind(None)
    except TypeError as error:
        raise ValueError(f"expected it to take a comparison alone, got {told(error)}") from error
    return output


def call_outputs(
    outputs: Sequence[Output], comparison: Comparison, named: Collection[Output]
) -> list[ValueError | OSError]:
    """Calls all of them, also after one that failed; returns what was wrong.

    Args:
        named: those of them that runs name: nothing that they raise keeps the others from theirs.
    """
    errors: list[ValueError | OSError] = []
    for output in outputs:
        try:
            output(comparison)
        except (ValueError, OSError) as error:
            errors.append(error)
        except Exception as error:
            if output not in named:
                raise
            errors.append(ValueError(f"the output {full_name(output)} failed: {told(error)}"))
    return errors
