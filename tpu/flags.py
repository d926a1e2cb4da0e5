"""The launcher's flags."""

import argparse
import re
from typing import NoReturn

from tpu import compute, gcloud
from tpu.gcloud import Request
from tpu.manifest import Wanted, checked
from tpu.slices import SIZES, TOPOLOGIES
from tpu.supervisor import Budgets

COMMANDS = {
    "create": "ask for a slice, and wait until it is ready",
    "setup": "copy the code and install the project on every worker",
    "run": "run an fdl command on every worker of a slice that is set up, or join it where it runs",
    "watch": "create, set up and run, again and again until the command has finished",
    "up": "watch, then delete the slice",
    "logs": "print what the workers have printed",
    "stop": "end the command on every worker; it saves first",
    "delete": "delete the slice",
    "costs": "list what there is in these zones, since when, and what it costs",
    "manifest": "print what runs an fdl command on TPUs of a Kubernetes cluster; does nothing",
}
BUDGETS = {
    "preemptions": "slices that may be lost",
    "unfit_slices": "slices that fdl doctor may find unfit",
    "crashes": "attempts in a row that may fail",
    "quota_refusals": "requests in a row that may be refused for want of quota",
    "capacity_refusals": "requests in a row that may find no capacity",
    "refusals": "requests in a row that may be refused otherwise, unless for good",
}
LIFETIME = "12h"
"""Of a slice, from its start."""
QUEUE, QUEUE_OF_SEVERAL = "24h", "30m"
"""How long a request may wait for capacity: in the only zone, and in one of several."""
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raises `ValueError`."""
        raise ValueError(f"{message}; see {self.prog} --help")


def parser() -> Parser:
    """The flags of every command. The fdl command comes after `--` and is no part of them."""
    whole = Parser(
        prog="python -m tpu.launch",
        allow_abbrev=False,
        description="Runs fdl on a Cloud TPU slice. The same command again continues.",
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        runs = name in ("run", "watch", "up")
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if runs or name == "manifest":
            where = "--zone ZONE" if runs else "--accelerator A --image I"
            one.usage = f"python -m tpu.launch {name} NAME {where} [...] -- run|sweep FILE --workdir gs://..."
        if name != "costs":
            one.add_argument("name", metavar="NAME", help="the slice's name")
        if name == "manifest":
            _add_manifest(one)
            continue
        one.add_argument("--zone", required=True, help="as us-east5-b; several, tried in turn: A,B")
        one.add_argument("--project", help="the project's id (default: gcloud's own)")
        one.add_argument("--dry-run", action="store_true", help="print every gcloud command, do none")
        one.add_argument(
            "--api",
            choices=("tpu", "compute"),
            default="tpu",
            help="the Cloud TPU API or, untried on hardware, Compute Engine: tpu/COMPUTE.md (%(default)s)",
        )
        if name in ("create", "watch", "up"):
            _add_request(one)
        if name in ("setup", "watch", "up"):
            one.add_argument(
                "--extra",
                action="append",
                default=[],
                metavar="E",
                help="an extra of the project, besides tpu and gs",
            )
        if runs:
            one.add_argument(
                "--env",
                action="append",
                default=[],
                metavar="NAME[=VALUE]",
                help="a variable of the command; without =VALUE its value here, which is never shown",
            )
        if name in ("watch", "up"):
            _add_budgets(one)
        if name == "logs":
            one.add_argument("--worker", type=int, help="only this one")
    return whole


def budgets(flags: argparse.Namespace) -> Budgets:
    """The budgets of `watch` and `up`; raises `ValueError` for negative ones."""
    for kind in BUDGETS:
        if getattr(flags, kind) < 0:
            raise ValueError(f"--{kind.replace('_', '-')} is {getattr(flags, kind)}; expected 0 or more")
    return Budgets(**{kind: getattr(flags, kind) for kind in BUDGETS})


def wanted(flags: argparse.Namespace) -> Request:
    """The request of `create`, `watch` and `up`; raises `ValueError` for what cannot be granted."""
    queue = seconds("--queue", flags.queue or (QUEUE_OF_SEVERAL if "," in flags.zone else QUEUE))
    kind, image = flags.accelerator, flags.runtime_version
    request = Request(kind, flags.pricing, image, queue, _lifetime(flags), flags.slices)
    return (compute if flags.api == "compute" else gcloud).checked_request(request)


def manifested(flags: argparse.Namespace) -> Wanted:
    """What `manifest` is to describe; raises `ValueError` for what cannot be had."""
    spot, lifetime = flags.pricing == "spot", _lifetime(flags)
    restarts, image = flags.restarts, flags.image
    return checked(Wanted(flags.name, flags.accelerator, image, flags.slices, lifetime, restarts, spot))


def _lifetime(flags: argparse.Namespace) -> int:
    lifetime = seconds("--lifetime", flags.lifetime)
    if lifetime < 600:
        raise ValueError(f"--lifetime is {flags.lifetime!r}; expected 10m or more: setting up takes minutes")
    return lifetime


def seconds(flag: str, text: str) -> int:
    """The seconds of a duration, as 5400 of `1h30m`; raises `ValueError` for others."""
    if not re.fullmatch(r"([1-9][0-9]{0,5}[dhms])+", text):
        raise ValueError(f"{flag} is {text!r}; expected a duration, as 12h, 90m or 1d12h")
    return sum(int(count) * UNITS[unit] for count, unit in re.findall(r"([0-9]+)([dhms])", text))


def _add_manifest(one: argparse.ArgumentParser) -> None:
    kinds = ", ".join(TOPOLOGIES)
    one.add_argument("--accelerator", required=True, metavar="A", help=f"as tpu7x-16; generations: {kinds}")
    one.add_argument("--image", required=True, metavar="I", help="a container with fdl and the experiment")
    one.add_argument("--slices", type=int, default=1, metavar="N", help="so many slices (%(default)s)")
    one.add_argument(
        "--lifetime",
        metavar="T",
        default=LIFETIME,
        help="each start of the command ends so long after it (%(default)s)",
    )
    one.add_argument(
        "--restarts",
        type=int,
        default=Budgets().preemptions,
        metavar="N",
        help="starts after the first, for preemptions and failures together (%(default)s)",
    )
    one.add_argument(
        "--spot", dest="pricing", action="store_const", const="spot", help="on nodes of that kind"
    )
    one.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of the command, shown"
    )


def _add_request(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--accelerator", required=True, metavar="A", help=f"as v6e-16; generations: {', '.join(SIZES)}"
    )
    one.add_argument("--runtime-version", metavar="V", help="the VM's image (default: the generation's)")
    one.add_argument(
        "--slices",
        type=int,
        default=1,
        metavar="N",
        help="so many slices of this kind, joined by the data centre's network (%(default)s)",
    )
    one.add_argument(
        "--queue",
        metavar="T",
        help=f"how long a request may wait for capacity, as 90m (default: {QUEUE}; "
        f"in each of several zones {QUEUE_OF_SEVERAL})",
    )
    one.add_argument(
        "--lifetime",
        metavar="T",
        default=LIFETIME,
        help="the slice deletes itself so long after its start, whatever runs there (%(default)s)",
    )
    one.add_argument(
        "--keep", action="store_true", help="leave the slice to its lifetime, whatever ends the launcher"
    )
    pricing = one.add_mutually_exclusive_group()
    pricing.add_argument(
        "--spot", dest="pricing", action="store_const", const="spot", help="cheap, preemptible"
    )
    pricing.add_argument(
        "--reserved", dest="pricing", action="store_const", const="reserved", help="of a reservation"
    )
    one.set_defaults(pricing="on-demand")


def _add_budgets(one: argparse.ArgumentParser) -> None:
    most = Budgets()
    for kind, text in BUDGETS.items():
        one.add_argument(
            f"--{kind.replace('_', '-')}",
            type=int,
            default=getattr(most, kind),
            metavar="N",
            help=f"{text} (%(default)s)",
        )
