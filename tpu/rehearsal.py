"""`--dry-run`: a world in which every command succeeds at once, and is only printed."""

import json
import shlex
from collections.abc import Callable, Sequence

from tpu.world import Output, World

MISSING = "NOT_FOUND: The resource 'instanceGroupManagers/{}' was not found"
"""What both APIs say of what is not there."""


def rehearsal(workers: int, *, slices: int, zone: str, write: Callable[[str], None]) -> World:
    """A world that prints every command, quoted for a shell, and does none.

    Args:
      workers: how many workers each of its slices has.
      slices: how many slices there are.
      zone: where the slice is already; empty where it is to be made.
      write: takes the commands.
    """
    there, job, seconds = zone, "", 0.0

    def answer(words: Sequence[str]) -> str:
        nonlocal there, job
        where = next((word.partition("=")[2] for word in words if word.startswith("--zone=")), None)
        if where is None:  # what is in no zone costs nothing
            return "[]"
        if "create" in words:
            there = where
        elif "delete" in words:
            there = "" if where == there else there
        elif words[4:5] == ["describe"] and words[3] == "managed":
            return f'{{"targetSize": {workers}}}' if where == there else ""
        elif words[4:5] == ["list-instances"]:
            return json.dumps([{"instance": f"VM-{n}", "instanceStatus": "RUNNING"} for n in range(workers)])
        elif words[3:5] == ["queued-resources", "describe"]:
            spec = f'{{"nodeSpec": [{{"multisliceParams": {{"nodeCount": {slices}}}}}]}}'
            return f'{{"state": {{"state": "ACTIVE"}}, "tpu": {spec}}}' if where == there else ""
        elif words[4] == "list":
            return "[]"
        elif words[3:5] == ["tpu-vm", "describe"]:
            return f'{{"state": "READY", "networkEndpoints": [{", ".join(["{}"] * workers)}]}}'
        for word in words:
            if word.startswith("--command="):
                command = shlex.split(word.partition("=")[2])
                if "start" in command[:3]:
                    job = next(word for word in command[3:] if not word.startswith("--"))
                if "poll" in command[:3]:
                    return f"fdl-tpu {job or '-'} {'ended 0' if job else 'absent -'} 0 0\nfdl-tpu exit 0\n"
        return "fdl-tpu exit 0\n"

    def run(words: Sequence[str], limit: float) -> Output:
        del limit
        write(shlex.join(words))
        out = answer(list(words))
        return Output(0, out.encode(), "") if out else Output(1, b"", MISSING.format(words[5]))

    def sleep(duration: float) -> None:
        nonlocal seconds
        seconds += duration

    return World(run, lambda: seconds, sleep, lambda: "TOKEN", lambda line: None, at_once=1)
