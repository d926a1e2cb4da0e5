"""Does the input starve the device, and how does it compare with Grain and the PyTorch DataLoader?

    FDL_DATA=folder uv run python experiments/benchmarks/input.py

Images of 32x32 pixels in batches of 128: CIFAR-10's first training file where `FDL_DATA` holds it, else
noise; in memory, in a memory-mapped file, and as a folder of JPEG files. By turns, in one process:

1. reading alone: images a second up to the device, with nothing to compute beside;
2. training a ResNet-20 by one and the same compiled step: the share of time that the device waits, as
   1 - (time with the data on the device) / (time with this input), medians over rounds. On CPUs the
   reading takes its time from the cores that compute, so this counts it as waiting.

Needs grain, and PyTorch for its rows (skipped, and said, without it).
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import data, models, tasks
from fdl.data.readers.cifar import read_cifar10
from fdl.data.readers.image_folder import image_folder
from fdl.experiment import Source
from fdl.train.prefetch import Feed
from fdl.train.runtime import machine, prepare

BATCH, READS, STEPS, ROUNDS, FILES = 128, 40, 4, 5, 1280
Loader = Callable[[int], Iterator[Any]]
"""`loader(batches)`: an iterator over as many batches."""


def main() -> None:
    """Measures and prints."""
    prepare()
    x, y, origin = images()
    print(f"{machine()}; {origin}, {len(x):,} images, batches of {BATCH}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        loaders = {
            "in memory": in_memory(x, y),
            "memory-mapped": mapped(Path(name), x, y),
            "JPEG folder": jpeg_folder(Path(name) / "jpeg", x, y),
        }
        reading(loaders)
        training(x, y, loaders)


def images() -> tuple[np.ndarray, np.ndarray, str]:
    """Images uint8 `[N, 32, 32, 3]`, their labels `[N]`, and where they are from."""
    file = Path(os.environ.get("FDL_DATA", ".")) / "cifar10" / "data_batch_1.bin"
    if file.exists():
        read = read_cifar10([file])
        return read["x"], read["y"], "CIFAR-10 (data_batch_1)"
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (10_000, 32, 32, 3), dtype=np.uint8)
    return x, rng.integers(0, 10, 10_000).astype(np.int32), "noise"


def fed(rows: data.Rows) -> Loader:
    """fdl's own loader."""
    return lambda batches: feed_of(data.shuffled(rows, batch_size=BATCH), batches)


def feed_of(source: Source, batches: int) -> Iterator[Any]:
    """The batches of a host source as the training loop gets them."""
    everything = slice(None)
    place = lambda read: jax.device_put(read(everything, everything))  # noqa: E731
    feed, key = Feed(source, place, end=batches), jax.random.key(0)[None]
    return (jax.tree.map(lambda leaf: leaf[0], feed.of(key, step)) for step in range(batches))


def grain_over(make: Callable[[int], dict[str, np.ndarray]], size: int) -> Loader:
    """Grain's MapDataset over single rows, shuffled, batched, read ahead by its threads."""
    import grain

    class Rows:
        def __len__(self) -> int:
            return size

        def __getitem__(self, index: Any) -> dict[str, np.ndarray]:
            return make(int(index))

    def loader(batches: int) -> Iterator[Any]:
        rows = grain.MapDataset.source(Rows()).shuffle(seed=0).repeat()  # pyright: ignore[reportArgumentType]
        options = grain.ReadOptions(num_threads=16, prefetch_buffer_size=500)
        found = iter(rows.to_iter_dataset(options).batch(BATCH))
        return (jax.device_put(next(found)) for _ in range(batches))

    return loader


def torch_over(make: Callable[[int], dict[str, np.ndarray]], size: int, *, workers: int) -> Loader | None:
    """PyTorch's DataLoader over single rows, shuffled."""
    try:
        import torch
    except ImportError:
        return None

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return size

        def __getitem__(self, index: int) -> tuple[Any, int]:
            row = make(int(index))
            return torch.from_numpy(np.array(row["x"])), int(row["y"])

    def loader(batches: int) -> Iterator[Any]:
        found = torch.utils.data.DataLoader(
            Rows(),
            BATCH,
            shuffle=True,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
        )

        def endless() -> Iterator[Any]:
            while True:
                yield from found

        rows = endless()
        return (
            jax.device_put({"x": x.numpy(), "y": y.numpy().astype(np.int32)})
            for _, (x, y) in zip(range(batches), rows, strict=False)
        )

    return loader


def beside(rows: data.Rows, make: Callable[[int], dict[str, np.ndarray]]) -> dict[str, Loader]:
    """The three loaders of the same rows."""
    found = {"fdl": fed(rows), "Grain": grain_over(make, rows.size)}
    torch = torch_over(make, rows.size, workers=0)
    return {**found, "PyTorch": torch} if torch else found


def in_memory(x: np.ndarray, y: np.ndarray) -> dict[str, Loader]:
    """Arrays in the host's memory."""
    return beside(data.on_host({"x": x, "y": y}), lambda index: {"x": x[index], "y": y[index]})


def mapped(folder: Path, x: np.ndarray, y: np.ndarray) -> dict[str, Loader]:
    """A file that is mapped into memory, not read."""
    np.save(folder / "x.npy", x)
    file = np.load(folder / "x.npy", mmap_mode="r")
    make = lambda index: {"x": np.array(file[index]), "y": y[index]}  # noqa: E731
    return beside(data.on_host({"x": file, "y": y}), make)


def jpeg_folder(folder: Path, x: np.ndarray, y: np.ndarray) -> dict[str, Loader]:
    """A file an image."""
    from PIL import Image

    for index in range(FILES):
        place = folder / str(y[index])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[index]).save(place / f"{index}.jpeg", quality=95)
    rows = image_folder(folder, size=32).train
    assert isinstance(rows, data.Rows)
    files = sorted(folder.rglob("*.jpeg"))

    def make(index: int) -> dict[str, np.ndarray]:
        with Image.open(files[index]) as image:
            return {"x": np.asarray(image.convert("RGB")), "y": np.asarray(int(files[index].parent.name))}

    return beside(rows, make)


def reading(inputs: dict[str, dict[str, Loader]]) -> None:
    """Images a second of each loader alone."""
    print(f"\nreading alone, {READS} batches, median of {ROUNDS} rounds")
    for name, loaders in inputs.items():
        seconds: dict[str, list[float]] = {key: [] for key in loaders}
        for _ in range(ROUNDS):
            for key, loader in loaders.items():
                found = loader(READS + 2)
                jax.block_until_ready([next(found), next(found)])  # starting up is not counted
                began = time.perf_counter()
                for batch in found:
                    jax.block_until_ready(batch)
                seconds[key].append(time.perf_counter() - began)
        line = [f"{k} {READS * BATCH / statistics.median(s):,.0f}" for k, s in seconds.items()]
        others = {key: s for key, s in seconds.items() if key != "fdl"}
        times = {
            k: statistics.median(b / a for a, b in zip(seconds["fdl"], s, strict=True))
            for k, s in others.items()
        }
        ratios = ", ".join(f"{key} takes {ratio:.1f} times fdl's time" for key, ratio in times.items())
        print(f"  {name}: {', '.join(line)} images/s; {ratios}", flush=True)


def training(x: np.ndarray, y: np.ndarray, inputs: dict[str, dict[str, Loader]]) -> None:
    """The share of time that a training device waits for each loader."""
    part = {"x": x, "y": y}
    scale = lambda batch: {**batch, "x": batch["x"].astype(jnp.float32) / 255.0}  # noqa: E731
    splits = data.Splits(part, part, part, prepare=scale)
    optimizer = optax.sgd(0.1, momentum=0.9)
    experiment = tasks.classification(models.cifar_resnet(20), splits, optimizer, steps=100, batch_size=BATCH)
    learner, key = experiment.learner, jax.random.key(0)
    step = jax.jit(lambda state, batch: learner.step(state, scale(batch), key)[0], donate_argnums=0)
    arrays = jax.device_put(experiment.train.arrays)
    resident = jax.jit(lambda state, arrays, number: learner.step(
        state, experiment.train.batch(arrays, number, key), key)[0], donate_argnums=0)  # fmt: skip

    def with_device(state: Any) -> Any:
        for number in range(STEPS):
            state = resident(state, arrays, jnp.int32(number))
        return state

    def with_loader(loader: Loader) -> Callable[[Any], Any]:
        def run(state: Any) -> Any:
            found = loader(STEPS + 1)
            state = step(state, next(found))  # starting up is not counted
            jax.block_until_ready(state)
            began[0] = time.perf_counter()
            for batch in found:
                state = step(state, batch)
            return state

        return run

    began = [0.0]
    ways = {"on the device": with_device} | {
        f"{name}, {key}": with_loader(loader)
        for name, loaders in inputs.items()
        for key, loader in loaders.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    state = jax.jit(learner.init)(key)
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            began[0] = time.perf_counter()
            state = jax.block_until_ready(way(state))
            if number:  # the first round compiles
                seconds[name].append(time.perf_counter() - began[0])
    alone = seconds["on the device"]
    print(f"\nResNet-20, {STEPS} steps, {ROUNDS} rounds: {statistics.median(alone) / STEPS:.3f} s a step")
    for name, times in seconds.items():
        if times is not alone:
            idle = statistics.median(1 - a / b for a, b in zip(alone, times, strict=True))
            print(f"  {name}: device idle {idle:.1%}")


if __name__ == "__main__":
    main()
