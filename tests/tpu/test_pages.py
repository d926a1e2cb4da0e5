"""Every command of the launcher on its pages is one that it takes, with the fdl command's own flags."""

import re
import shlex

import pytest

from tpu import launch

OWN = {"MY-PROJECT": "my-project", "MY-BUCKET": "my-bucket"}
"""What a reader puts in the place of these."""


def commands(page: str) -> list[str]:
    text = (launch.ROOT / "tpu" / page).read_text().replace("\\\n", " ")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.partition(" | ")[0] for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("python3 -m tpu.launch ")]


COMMANDS = [command for page in ("README.md", "COMPUTE.md") for command in commands(page)]


def test_there_are_some_on_both_pages():
    assert len(commands("README.md")) >= 5 and len(commands("COMPUTE.md")) >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_pages_is_taken(command, capsys):
    for name, own in OWN.items():
        command = command.replace(name, own)
    words = shlex.split(command)[3:]
    if words[0] != "manifest":
        end = words.index("--") if "--" in words else len(words)
        words.insert(end, "--dry-run")
    assert launch.main(words) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("{" if words[0] == "manifest" else "gcloud compute ") and not shown.err
