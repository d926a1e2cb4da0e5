"""Every source that fdl.data can make, as small as it goes: one line each."""

import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fdl import data
from fdl.data import synthetic
from fdl.data.splits import size_of
from fdl.experiment import Source

BATCH, STEPS = 16, (0, 1, 1000, 1_000_000)


def write_files(folder: Path) -> None:
    """Writes the files that `parts` reads."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from PIL import Image
    from scipy.io import wavfile

    rng = np.random.default_rng(0)
    for number in range(30):
        for kind in ("images", "waves"):
            (folder / kind / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (9 + number % 3, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / "ab"[number % 2] / f"{number}.jpg")
        wave = rng.integers(-(2**15), 2**15, 50).astype(np.int16)
        wavfile.write(folder / "waves" / "ab"[number % 2] / f"{number}.wav", 8000, wave)
    lines = [f"{value:.3f},{'xyz'[number % 3]}" for number, value in enumerate(rng.normal(size=40))]
    (folder / "table.csv").write_text("\n".join(["value,label", *lines]))
    (folder / "text.txt").write_text("all the world is a stage and all the men and women merely players " * 9)
    data.write_tokens(folder / "tokens.bin", np.arange(300) % 50, dtype=np.uint16)
    np.save(folder / "rows.npy", np.arange(150, dtype=np.float32).reshape(50, 3))
    writer = ArrayRecordWriter(str(folder / "rows.array_record"), "group_size:1")
    for number in range(30):
        writer.write(np.full(3, number, np.float32).tobytes())
    writer.close()


FILES: dict[str, Callable[[Path], data.Part]] = {
    "arrays": lambda _: {"x": np.arange(150, dtype=np.float32).reshape(50, 3), "y": np.arange(50)},
    "on_host": lambda at: data.on_host({"x": np.load(at / "rows.npy", mmap_mode="r"), "y": np.arange(50)}),
    "image_folder": lambda at: data.image_folder(at / "images", size=4).train,
    "wav_folder": lambda at: data.wav_folder(at / "waves", length=40).train,
    "table": lambda at: data.table(at / "table.csv", target="label").train,
    "text": lambda at: data.text(at / "text.txt", length=8).train,
    "text, overlapping": lambda at: data.text(at / "text.txt", length=8, stride=3).train,
    "windows": lambda at: data.windows(data.tokens_file(at / "tokens.bin", dtype=np.uint16), length=8),
    "array_record": lambda at: data.array_record(
        at / "rows.array_record", lambda record: {"x": np.frombuffer(record, np.float32)}
    ),
    "hugging_face": lambda _: data.hugging_face(_dataset()),
}
"""Rows from files and arrays; `write_files` writes the files."""

DATA_SETS: dict[str, Callable[[], data.Part]] = {
    "digits": lambda: data.digits().train,
    "digit_images": lambda: data.digit_images().train,
    "wine": lambda: data.wine().train,
    "breast_cancer": lambda: data.breast_cancer().train,
    "diabetes": lambda: data.diabetes().train,
    "photo_patches": lambda: data.photo_patches(size=40).train,
    "faces": lambda: data.faces().train,
    "sunspots": lambda: data.sunspots().train,
    "co2": lambda: data.co2().train,
    "scan_length": lambda: data.scan_length().test,
    "numbers": lambda: data.numbers(digits=2).train,
    "mnist1d": lambda: synthetic.mnist1d(train=50, validation=10, test=10).train,
    "two_spirals": synthetic.two_spirals,
    "truth_table": lambda: synthetic.truth_table(6, inputs=4),
    "modular_arithmetic": lambda: synthetic.modular_arithmetic(operation=synthetic.add, p=7).train,
}
"""Data sets with a fixed number of rows, by the name of their function."""
FEW = (
    *("arrays", "on_host", "image_folder", "windows", "array_record", "hugging_face"),
    *("digits", "truth_table", "zipf", "captioned_shape", "hidden_markov_text", "mnist1d_row"),
)
"""A source of each kind: rows in memory, of which the batch size divides the number or not, rows read on the
host from arrays and from files of each form, computed rows, and generators of numbers, images, texts and
curves."""


def parts(folder: Path, names: Collection[str] = (*FILES, *DATA_SETS)) -> dict[str, data.Part]:
    """What has a fixed number of rows, which an epoch visits once each; of those names."""
    files = {name: make(folder) for name, make in FILES.items() if name in names}
    return files | {name: make() for name, make in DATA_SETS.items() if name in names}


def samples() -> dict[str, data.Sample]:
    """Generators of one row, from which endless streams are made, by the name of their function."""
    chain = synthetic.stochastic_matrix(jax.random.key(0), rows=5, columns=5)
    shown = synthetic.stochastic_matrix(jax.random.key(1), rows=5, columns=7)
    part = functools.partial
    return {
        "spiral": part(synthetic.spiral, noise=0.1),
        "rings": synthetic.rings,
        "gaussian_ring": synthetic.gaussian_ring,
        "linear_gaussian": part(synthetic.linear_gaussian, weights=np.ones((3, 2), np.float32), noise=0.1),
        "boolean_row": part(synthetic.boolean_row, number=6, inputs=4),
        "parity": part(synthetic.parity, inputs=8),
        "sawtooth": synthetic.sawtooth,
        "mnist1d_row": synthetic.mnist1d_row,
        "captioned_shape": part(synthetic.captioned_shape, pixels=8),
        "zipf": part(synthetic.zipf, classes=9, features=2),
        "adding": part(synthetic.adding, length=10),
        "copy_memory": part(synthetic.copy_memory, delay=5, symbols=8, memory=4),
        "associative_recall": part(
            synthetic.associative_recall, length=32, pairs=4, vocabulary=64, power=0.1
        ),
        "induction": part(synthetic.induction, length=16, symbols=8),
        "rewrite": part(synthetic.rewrite, length=4, symbols=5),
        "markov_text": part(synthetic.markov_text, transition=chain, length=12),
        "hidden_markov_text": part(synthetic.hidden_markov_text, transition=chain, emission=shown, length=12),
    }


def training_sources(folder: Path, *, few: bool) -> dict[str, Source]:
    """All of them, or those of `FEW`, as sources to train on."""
    drawn = samples()
    names = FEW if few else (*FILES, *DATA_SETS, *drawn)
    finite = {name: data.shuffled(part, batch_size=BATCH) for name, part in parts(folder, names).items()}
    return finite | {
        name: data.stream(sample, batch_size=BATCH) for name, sample in drawn.items() if name in names
    }


def sizes(folder: Path) -> dict[str, int]:
    """How many rows each finite data set has."""
    return {name: size_of(part) for name, part in parts(folder).items()}


def _dataset() -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"x": [[float(number)] * 2 for number in range(30)]})
