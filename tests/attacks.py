"""What a checkpoint or run.json from elsewhere could name; a call of most of it leaves a file."""

import os
import pickle
from pathlib import Path
from typing import Any

CALLED = "called"
PICKLE = "evil.pkl"


class Evil:
    """Leaves the file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def attacks(folder: Path) -> dict[str, dict[str, Any]]:
    """Nodes by what they are; none may leave `folder / CALLED`."""
    called, evil = folder / CALLED, folder / PICKLE
    evil.write_bytes(pickle.dumps(Evil(called)))
    touch, path, load = f"touch {called}", str(called), {"weights_only": False}
    return {
        "function": {"_target_": "shutil.copy", "src": str(evil), "dst": path},
        "partial": {"_target_": "os.system", "_partial_": True, "command": touch},
        "builtin": {"_target_": "builtins.open", "file": path, "mode": "w"},
        "positional": {"_target_": "os.system", "_args_": [touch]},
        "pickle": {"_target_": "torch.load", "f": str(evil), **load},
        "joblib": {"_target_": "joblib.load", "filename": str(evil)},
        "alias": {"_target_": "runlab.atomic.os.system", "_args_": [touch]},
        "colon": {"_target_": "os:system", "_args_": [touch]},
        "method": {"_target_": "pathlib.Path.touch", "_args_": [path]},
        "classmethod": {
            "_target_": "losslab.Classifier.load_from_checkpoint",
            "checkpoint_path": str(evil),
            **load,
        },
        "other class": {"_target_": "subprocess.Popen", "args": ["touch", path]},
        "own function": {"_target_": "runlab.atomic.replace", "path": path, "content": "x"},
        "hydra": {"_target_": "hydra.utils.call", "config": {"_target_": "os.system"}},
        "library": {"_target_": "torch.jit.ScriptModule"},
        "demo": {"_target_": "lightning.pytorch.demos.mnist_datamodule.MNISTDataModule"},
        "no name": {"_target_": {"_target_": "os.system"}},
    }


def nested(node: dict[str, Any], attack: dict[str, Any]) -> list[dict[str, Any]]:
    """A sound node with an attack in it: a parameter, in a list, and deep in plain values."""
    return [{**node, "extra": inner} for inner in (attack, [[attack]], {"a": [{"b": attack}]})]


SECRET = "RUNLAB_TEST_SECRET"

RESOLVED = [
    f"${{oc.env:{SECRET}}}",
    f"a ${{oc.decode:${{oc.env:{SECRET}}}}}",
    "${hydra:runtime.cwd}",
    "${name}",
    "${run.overrides}",
    "${run.${name}}",
    f"$${{run.name}}{{oc.env:{SECRET}}}",
    "${unfinished",
]
"""Texts that OmegaConf would resolve, or try to."""
