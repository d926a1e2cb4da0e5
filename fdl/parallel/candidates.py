"""The plans worth trying for some members on some devices."""

from fdl.parallel.plan import MeshSizes, Plan, Strategy, on_all, sizes_of, spans_of


def candidates(
    count: int,
    devices: int,
    platform: str,
    *,
    rows: int = 1,
    on_host: bool = False,
    mesh: MeshSizes | None = None,
    strategy: Strategy = "jit",
) -> list[Plan]:
    """The plans worth measuring for `count` members, the likeliest best first.

    Members are spread over the devices. Where there are fewer members than devices, GPUs and TPUs also split
    the rows of a batch over those that are left, and, only for what fits on no device, the parameters. CPU
    cores do so only where the user says it: XLA's collectives for CPUs need more threads than there are
    cores (`fdl.train.runtime.make_room`).

    Args:
      count: members.
      devices: how many there are.
      platform: `"cpu"`, `"gpu"` or `"tpu"`.
      rows: what the rows of every batch are a multiple of.
      on_host: whether data stays on the host.
      mesh: the sizes of the axes, if the user decides.
      strategy: how rows are split; the user decides it with the mesh.

    Raises:
      ValueError: a mesh that spreads members over more groups of devices than there are members.
    """
    if mesh is not None:
        group = sizes_of(mesh)
        if (population := group.pop("population", 1)) > count:
            raise ValueError(
                f"the mesh spreads members over population={population}, but a program has {count}; "
                "take a smaller mesh, or another axis"
            )
        plans = _ways(count, population, platform, on_host)
        return [plan._replace(**group, strategy=strategy, spans=spans_of(mesh)) for plan in plans]
    across = min(devices, count)
    plans = _ways(count, across, platform, on_host)
    spare = next(size for size in range(devices // across, 0, -1) if rows % size == 0)
    if spare == 1 or platform == "cpu":
        return plans
    split = [plan._replace(data=spare) for plan in plans]
    by_turns = [plan for pair in zip(split, plans, strict=True) for plan in pair]
    return [*by_turns, plans[0]._replace(fsdp=spare)]


def unmeasured(count: int, devices: int, platform: str, *, rows: int, on_host: bool = False) -> Plan:
    """The plan for `count` members on all devices of several processes: each must come to the same one.

    A group of devices for each member, as far as they go; within a group the `rows` of a batch are split.
    """
    dividing = [n for n in range(1, devices + 1) if devices % n == 0 and rows % (devices // n) == 0]
    groups = max((n for n in dividing if n <= count), default=min(dividing) if count > 1 else 1)
    wide = -(-count // groups) * groups
    calls = on_host or (platform == "cpu" and groups < devices)
    across = "map" if platform == "cpu" or wide == groups else "vmap"
    return on_all(Plan(wide, across, "calls" if calls else "scan", groups), devices)


def _ways(count: int, across: int, platform: str, on_host: bool) -> list[Plan]:
    """How members on `across` groups of devices can run.

    On CPUs, one member a core at a time in a loop on the device mostly wins; on GPUs and TPUs width wins.
    Data that stays on the host comes a call a step.
    """
    wide = -(-count // across) * across
    if on_host:
        plans = [Plan(across, "map", "calls", across), Plan(wide, "vmap", "calls", across)]
        return plans if wide > across else plans[:1]
    one_by_one = [Plan(wide, "map", "scan", across), Plan(wide, "map", "calls", across)]
    if wide == across:
        return one_by_one
    side_by_side = [Plan(wide, "vmap", "scan", across), Plan(wide, "vmap", "calls", across)]
    if platform == "cpu":
        return [one_by_one[0], side_by_side[0], Plan(across, "map", "calls", across), side_by_side[1]]
    return [*side_by_side, one_by_one[0]]
