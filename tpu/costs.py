"""`costs`: what there is in a project, since when, and what that has cost by the list price."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tpu import compute, gcloud, slices
from tpu.condition import ASKING
from tpu.gcloud import Place
from tpu.world import World

FREE = ("CREATING", "PREEMPTED", "TERMINATED", "STOPPED", "HIDDEN", "PENDING", "PROVISIONING", "STAGING")
"""States of VMs that are not billed; all others may be."""


class Cost(NamedTuple):
    """A slice or a request."""

    name: str
    zone: str
    accelerator: str
    state: str
    hours: float | None
    """since it was made; None where Google Cloud does not say"""
    hourly: float | None
    """dollars, by the list price on demand: 0 where it is not billed, None where that is not known"""
    spot: bool


def costs(world: World, places: Sequence[Place]) -> int:
    """Prints what there is in these zones, whatever its name, with its price and the sum; 1 where a zone did
    not answer."""
    found, silent = list[Cost](), list[str]()
    for place in places:
        zone, project = place.zone, place.project
        lists = (
            [compute.list_all(zone, project)]
            if place.compute
            else [gcloud.list_nodes(zone, project), gcloud.list_queued(zone, project)]
        )
        answers = [world.run(words, ASKING) for words in lists]
        try:
            for answer in answers:
                if answer.code != 0:
                    raise ValueError(answer.reason())
            read = [json.loads(answer.out) for answer in answers]
            if place.compute:
                found += vms(read[0], zone, world.date())
            else:
                found += billed(read[0], read[1], zone, world.date())
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            silent.append(f"{zone} does not answer: {' '.join(str(error).split())}")
    for line in (*table(found), *silent):
        world.say(line)
    return 1 if silent else 0


def billed(nodes: Sequence[Any], requests: Sequence[Any], zone: str, now: float) -> list[Cost]:
    """What a zone's slices cost, and which requests have none yet.

    Args:
      nodes: Google Cloud's list of slices.
      requests: its list of requests.
      zone: where they are.
      now: seconds since 1970.
    """
    found, whose = [], set()
    for node in nodes:
        state, accelerator = node.get("state", "STATE_UNSPECIFIED"), node.get("acceleratorType", "")
        whose.add(_last(node.get("queuedResource", "")) or _last(node["name"]))
        plan = node.get("schedulingConfig", {})
        spot = bool(plan.get("spot") or plan.get("preemptible"))
        price = 0.0 if state in FREE else slices.price(accelerator)
        found.append(Cost(_last(node["name"]), zone, accelerator, state, _hours(node, now), price, spot))
    for request in requests:
        if _last(request["name"]) in whose:
            continue
        spec = (request.get("tpu", {}).get("nodeSpec") or [{}])[0]
        state = request.get("state", {}).get("state", "STATE_UNSPECIFIED")
        accelerator = spec.get("node", {}).get("acceleratorType", "")
        name, hours = f"{_last(request['name'])} (a request)", _hours(request, now)
        found.append(Cost(name, zone, accelerator, state, hours, 0.0, "spot" in request))
    return found


def vms(found: Sequence[Any], zone: str, now: float) -> list[Cost]:
    """What a zone's VMs of Compute Engine that have TPUs cost, one each.

    Args:
      found: Google Cloud's list of them.
      zone: where they are.
      now: seconds since 1970.
    """
    prefixes = {f"{prefix}-": generation for generation, prefix in compute.MACHINES.items()}
    costs = []
    for vm in found:
        kind, state = _last(vm["machineType"]), vm.get("status", "STATE_UNSPECIFIED")
        generation = next((prefixes[prefix] for prefix in prefixes if kind.startswith(prefix)), "")
        size = re.search(r"-([0-9]+)t(-tpu)?$", kind)
        each = slices.LIST_PRICES.get(generation)
        price = each * int(size[1]) if each is not None and size else None
        spot = vm.get("scheduling", {}).get("provisioningModel") == "SPOT"
        made = _hours({"createTime": _utc(vm.get("creationTimestamp", ""))}, now)
        costs.append(Cost(vm["name"], zone, kind, state, made, 0.0 if state in FREE else price, spot))
    return costs


def table(found: Sequence[Cost]) -> list[str]:
    """Lines for people, the last with the sums."""
    lines = [
        f"{one.name} in {one.zone}: {one.accelerator or '?'}{' spot' * one.spot}, {one.state}, {_price(one)}"
        for one in found
    ]
    rates = [one.hourly for one in found if one.hourly]
    sums = [one.hourly * one.hours for one in found if one.hourly and one.hours is not None]
    unknown = sum(one.hourly is None or (one.hourly > 0 and one.hours is None) for one in found)
    lines.append(
        f"together: ${sum(rates):,.2f} an hour, ${sum(sums):,.2f} so far, at the on-demand list prices of "
        "2025 in the US, from creation on; spot costs less"
        + (f"; {unknown} more whose price or age this launcher does not know" if unknown else "")
    )
    return lines


def _price(one: Cost) -> str:
    since = "since when is not known" if one.hours is None else f"for {one.hours:.1f} h"
    if one.hourly is None:
        return f"{since}, at the price that cloud.google.com/tpu/pricing says"
    if one.hourly == 0:
        return f"{since}, not billed"
    so_far = "" if one.hours is None else f", ${one.hourly * one.hours:,.2f} so far"
    return f"{since}, ${one.hourly:,.2f} an hour{so_far}"


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _utc(time: str) -> str:
    """A time of Compute Engine's, as `2026-11-27T02:00:00.5-08:00`, in the words of the TPU API."""
    try:
        return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"
    except ValueError:
        return ""


def _hours(about: dict[str, Any], now: float) -> float | None:
    """Since it was made. Google's times have up to nine digits after the second: more than Python reads."""
    seconds = about.get("createTime", "").partition(".")[0].rstrip("Z")
    try:
        made = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return max(0.0, now - made.timestamp()) / 3600
