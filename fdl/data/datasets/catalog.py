"""All data sets, for a command line to list; each is declared in the file of its function."""

from fdl.data.datasets import (
    cifar,
    grammar,
    mnist,
    number_names,
    pictures,
    shakespeare,
    speech,
    spoken_digits,
    tables,
    time_series,
)
from fdl.data.synthetic import algorithmic, points, sequences, shapes, signals

DATA_SETS = (
    *mnist.DATA_SETS,
    *cifar.DATA_SETS,
    *shakespeare.DATA_SETS,
    *spoken_digits.DATA_SETS,
    *tables.DATA_SETS,
    *pictures.DATA_SETS,
    *time_series.DATA_SETS,
    *grammar.DATA_SETS,
    *number_names.DATA_SETS,
    *speech.DATA_SETS,
    *signals.DATA_SETS,
    *points.DATA_SETS,
    *algorithmic.DATA_SETS,
    *sequences.DATA_SETS,
    *shapes.DATA_SETS,
)
"""By the file that declares them."""
