"""Every source that fdl.data can make, as small as it goes: one line each."""

import functools
from pathlib import Path

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


def parts(folder: Path) -> dict[str, data.Part]:
    """Data sets with a fixed number of rows, which an epoch visits once each."""
    from datasets import Dataset

    mapped = np.load(folder / "rows.npy", mmap_mode="r")
    rows = Dataset.from_dict({"x": [[float(number)] * 2 for number in range(30)]})
    return {
        "arrays": {"x": np.arange(150, dtype=np.float32).reshape(50, 3), "y": np.arange(50)},
        "memory-mapped": data.on_host({"x": mapped, "y": np.arange(50)}),
        "image folder": data.image_folder(folder / "images", size=4).train,
        "WAV folder": data.wav_folder(folder / "waves", length=40).train,
        "table": data.table(folder / "table.csv", target="label").train,
        "text": data.text(folder / "text.txt", length=8).train,
        "overlapping text": data.text(folder / "text.txt", length=8, stride=3).train,
        "token file": data.windows(data.tokens_file(folder / "tokens.bin", dtype=np.uint16), length=8),
        "ArrayRecord": data.array_record(
            folder / "rows.array_record", lambda record: {"x": np.frombuffer(record, np.float32)}
        ),
        "Hugging Face": data.hugging_face(rows),
        "digits": data.digits().train,
        "digit images": data.digit_images().train,
        "wine": data.wine().train,
        "breast cancer": data.breast_cancer().train,
        "diabetes": data.diabetes().train,
        "photo patches": data.photo_patches(size=40).train,
        "faces": data.faces().train,
        "sunspots": data.sunspots().train,
        "CO2": data.co2().train,
        "SCAN": data.scan_length().test,
        "numbers": data.numbers(digits=2).train,
        "MNIST-1D": synthetic.mnist1d(train=50, validation=10, test=10).train,
        "two spirals": synthetic.two_spirals(),
        "truth table": synthetic.truth_table(6, inputs=4),
        "modular arithmetic": synthetic.modular_arithmetic(operation=synthetic.add, p=7).train,
    }


def samples() -> dict[str, data.Sample]:
    """Generators of one row, from which endless streams are made."""
    chain = synthetic.stochastic_matrix(jax.random.key(0), rows=5, columns=5)
    shown = synthetic.stochastic_matrix(jax.random.key(1), rows=5, columns=7)
    part = functools.partial
    return {
        "spiral": part(synthetic.spiral, noise=0.1),
        "rings": synthetic.rings,
        "Gaussian ring": synthetic.gaussian_ring,
        "linear-Gaussian": part(synthetic.linear_gaussian, weights=np.ones((3, 2), np.float32), noise=0.1),
        "Boolean function": part(synthetic.boolean_row, number=6, inputs=4),
        "parity": part(synthetic.parity, inputs=8),
        "sawtooth": synthetic.sawtooth,
        "MNIST-1D stream": synthetic.mnist1d_row,
        "shapes": part(synthetic.captioned_shape, pixels=8),
        "Zipf labels": lambda key: {"y": synthetic.zipf_label(key, classes=9)},
        "adding": part(synthetic.adding, length=10),
        "copy memory": part(synthetic.copy_memory, delay=5, symbols=8, memory=4),
        "associative recall": part(
            synthetic.associative_recall, length=32, pairs=4, vocabulary=64, power=0.1
        ),
        "induction": part(synthetic.induction, length=16, symbols=8),
        "Markov text": part(synthetic.markov_text, transition=chain, length=12),
        "hidden Markov text": part(synthetic.hidden_markov_text, transition=chain, emission=shown, length=12),
    }


def training_sources(folder: Path) -> dict[str, Source]:
    """All of them as sources to train on."""
    finite = {name: data.shuffled(part, batch_size=BATCH) for name, part in parts(folder).items()}
    return finite | {name: data.stream(sample, batch_size=BATCH) for name, sample in samples().items()}


def sizes(folder: Path) -> dict[str, int]:
    """How many rows each finite data set has."""
    return {name: size_of(part) for name, part in parts(folder).items()}
