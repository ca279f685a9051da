"""Stacks as tasks of Ray, in a cluster or on this machine."""

import logging
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from runlab.launchers.part import LostPartError, Part
from runlab.launchers.processes import memory_limit
from runlab.launchers.stacked import Result, StackedMixin

log = logging.getLogger(__name__)


class StackedRayMixin(StackedMixin):
    """One stack is one task. Ray begins a task again whose worker or machine is lost: it goes on.

    Args:
        size, compile: as in `StackedMixin`.
        init: of `ray.init`; `address: auto` is the cluster that this machine is in.
        remote: options of `ray.remote` for each task, such as `num_cpus` and `num_gpus`.
    """

    def __init__(
        self,
        size: int = 50,
        compile: str | None = None,
        init: Mapping[str, Any] | None = None,
        remote: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(size, compile)
        self.init, self.remote = plain(init), plain(remote)

    def execute(self, parts: Sequence[Part]) -> Generator[tuple[int, Result]]:
        import ray

        is_ours = not ray.is_initialized()
        if is_ours:
            ray.init(**self.init)
        try:
            train = ray.remote(**self.options())(call)
            for part in parts:
                part.cores = max(int(self.remote.get("num_cpus", 1)), 1)
            running = {train.remote(part): number for number, part in enumerate(parts)}
            log.info(
                "Ray tasks: %d, at most as many at a time as the cluster has room for", len(parts)
            )
            while running:
                [done], _ = ray.wait(list(running))
                yield running.pop(done), result_of(done)
        finally:
            if is_ours:
                ray.shutdown()

    def options(self) -> dict[str, Any]:
        """Of a part of a GPU, its processes may take that part of the memory alone."""
        limit = memory_limit(self.remote.get("num_gpus") or 1)
        if not limit:
            return self.remote
        environment = self.remote.get("runtime_env", {})
        variables = limit | environment.get("env_vars", {})
        return self.remote | {"runtime_env": environment | {"env_vars": variables}}


def call(part: Part) -> Result:
    return part()


def result_of(reference: Any) -> Result:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return LostPartError(f"Ray gave its task up ({type(error).__name__})")


def plain(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(settings) if OmegaConf.is_config(settings) else settings
    return dict(found or {})
