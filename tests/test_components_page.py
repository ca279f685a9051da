"""docs/components.md: each command and file of it composes, and is what training would take."""

import re
import shlex

import pytest
import yaml
from omegaconf import OmegaConf

from runlab.components import build_data, build_module
from runlab.config import schema
from tests.compose import CONF, ROOT, compose

PAGE = (ROOT / "docs" / "components.md").read_text()
PLAIN = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in PLAIN for line in block.splitlines()]
FILES = re.findall(r"```yaml\n# (conf/\S+)\n(.*?)```", PAGE, re.DOTALL)
OF_FILES = ("pretrained.file",)


def halved(step: int) -> float:
    return 0.5**step


def built(cfg):
    schema.check(OmegaConf.to_container(cfg, resolve=True))
    build_data(cfg)
    return build_module(cfg)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_builds_a_module(command, tiny):
    command = command.replace("my_package.decay", "tests.test_components_page.halved")
    overrides = shlex.split(command)
    if overrides[0].startswith(OF_FILES):  # tests/test_pretrained.py reads files
        assert compose(*overrides).pretrained.file
        return
    module = built(compose(*tiny, *overrides))
    assert module.optimizer_factory(module.named_parameters()).param_groups


@pytest.mark.parametrize(("path", "text"), FILES)
def test_a_file_builds_a_module(path, text, tiny):
    if (CONF.parent / path).exists():
        shipped = yaml.safe_load((CONF.parent / path).read_text())
        assert shipped == yaml.safe_load(text)
    cfg = compose(*tiny)
    node = OmegaConf.create(yaml.safe_load(text))
    _, group, _ = path.split("/")
    OmegaConf.set_struct(cfg, False)
    cfg = OmegaConf.merge(cfg, node) if group == "experiment" else cfg
    if group != "experiment":
        cfg[group] = node
    module = built(cfg)
    optimizer = module.optimizer_factory(module.named_parameters())
    if group == "experiment":
        assert [each["lr"] for each in optimizer.param_groups] == [0.1, 1.0, 0.1]
        assert [each["weight_decay"] for each in optimizer.param_groups] == [0.01, 0.01, 0]
