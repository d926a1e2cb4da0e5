"""Does masking stretches of time and of pitch help a net to understand speakers that it never heard?

Park et al. 2019, SpecAugment, mask blocks of the spectrogram in training, and so lower the word error rate
on LibriSpeech, whose test speakers are not in train. Here strings of one to four recordings from the Free
Spoken Digit Dataset are transcribed by connectionist temporal classification: four speakers to train on,
one each for validation, by which the learning rates are chosen, and test. The masks are to lower the edits
for each spoken digit by at least 0.02, for both speakers.

    fdl sweep experiments/spoken_digits.py

Two seeds choose, five others judge: 42 runs of about a minute each on 2 cores, or side by side in less than
two minutes on one NVIDIA H200.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np
import optax

import fdl
from fdl import data, models, optim, tasks


def nothing(batch, key):
    """The spectrograms as they are."""
    del key
    return batch


def masking(batch, key):
    """Two masks of up to 20 frames (a quarter of a second), two of up to 8 of the 40 bands."""
    return data.by_row(data.spec_augment)(batch, key)


@functools.cache
def strings() -> data.Splits:
    """Strings of one to four recordings of one speaker: log-mel bands, each of mean 0 in each recording."""
    part, rng = data.spoken_digits().train, np.random.default_rng(0)
    with jax.ensure_compile_time_eval():
        mels = np.asarray(data.log_mel(part["x"].astype(np.float32) / 32768, rate=8000))
    counts = np.maximum(1, 1 + (part["length"] - 200) // 80)
    features = [mel[:count] - mel[:count].mean(0) for mel, count in zip(mels, counts, strict=True)]

    def of(speakers: tuple[int, ...], rows: int) -> dict[str, np.ndarray]:
        x, length = np.zeros((rows, 240, 40), np.float32), np.zeros(rows, np.int32)
        y = np.zeros((rows, 4), np.int32)
        for row in range(rows):
            voice = np.flatnonzero(part["speaker"] == rng.choice(speakers))
            said = rng.choice(voice, size=rng.integers(1, 5))
            frames = np.concatenate([features[clip] for clip in said])[:240]
            x[row, : len(frames)], length[row], y[row, : len(said)] = frames, len(frames), part["y"][said] + 1
        return {"x": x, "length": length, "y": y}

    return data.Splits(of((0, 1, 2, 3), 4000), of((4,), 600), of((5,), 600))


@fdl.config
class Config:
    augment: Callable = nothing
    """what is done to every training batch"""
    lr: float = fdl.traced(5e-3, low=0.0)
    """Adam's highest learning rate"""
    steps: int = fdl.static(1500, low=51)
    """updates of 32 strings each"""


def experiment(config: Config) -> fdl.Experiment:
    return tasks.ctc(
        models.AcousticModel(11, channels=64, widths=(64,), stride=3, dropout=0.2),
        strings(),
        optax.adam(optim.warmup_cosine(config.lr, steps=config.steps, warmup=50)),
        steps=config.steps,
        stride=3,
        augment=config.augment,
    )


SWEEP = fdl.grid(Config(), augment=(nothing, masking), lr=(2e-3, 5e-3, 1e-2), seeds=7)


def claim(result: fdl.Result) -> fdl.Verdict:
    """Edits for each spoken digit, with masks and without, of each speaker that is not in train."""
    best = result.best("lr", by="validation/error_rate", better="lower", seeds=2)
    validation, test = (
        fdl.compare(
            best, metric=metric, arms="augment", baseline="nothing", better="lower", at_least=0.02
        ).verdict
        for metric in ("validation/error_rate", "test/error_rate")
    )
    return fdl.all_of(validation, test)
