"""Synthetic data, exactly specified: each docstring says enough to write the generator again."""

from types import ModuleType as _ModuleType

from fdl.data.synthetic.algorithmic import add as add
from fdl.data.synthetic.algorithmic import associative_recall as associative_recall
from fdl.data.synthetic.algorithmic import divide as divide
from fdl.data.synthetic.algorithmic import induction as induction
from fdl.data.synthetic.algorithmic import modular_arithmetic as modular_arithmetic
from fdl.data.synthetic.algorithmic import multiply as multiply
from fdl.data.synthetic.algorithmic import rewrite as rewrite
from fdl.data.synthetic.algorithmic import subtract as subtract
from fdl.data.synthetic.boolean import boolean_row as boolean_row
from fdl.data.synthetic.boolean import parity as parity
from fdl.data.synthetic.boolean import parity_number as parity_number
from fdl.data.synthetic.boolean import truth_table as truth_table
from fdl.data.synthetic.entropy import entropy_rate as entropy_rate
from fdl.data.synthetic.entropy import entropy_rate_bounds as entropy_rate_bounds
from fdl.data.synthetic.entropy import token_log_likelihood as token_log_likelihood
from fdl.data.synthetic.labels import flip_label as flip_label
from fdl.data.synthetic.labels import imbalanced as imbalanced
from fdl.data.synthetic.labels import noisy_labels as noisy_labels
from fdl.data.synthetic.labels import zipf as zipf
from fdl.data.synthetic.labels import zipf_label as zipf_label
from fdl.data.synthetic.markov import hidden_markov_text as hidden_markov_text
from fdl.data.synthetic.markov import markov_text as markov_text
from fdl.data.synthetic.markov import stationary as stationary
from fdl.data.synthetic.markov import stochastic_matrix as stochastic_matrix
from fdl.data.synthetic.points import gaussian_ring as gaussian_ring
from fdl.data.synthetic.points import gaussian_ring_log_prob as gaussian_ring_log_prob
from fdl.data.synthetic.points import linear_gaussian as linear_gaussian
from fdl.data.synthetic.points import linear_gaussian_log_evidence as linear_gaussian_log_evidence
from fdl.data.synthetic.points import linear_gaussian_posterior as linear_gaussian_posterior
from fdl.data.synthetic.points import rings as rings
from fdl.data.synthetic.points import spiral as spiral
from fdl.data.synthetic.points import two_spirals as two_spirals
from fdl.data.synthetic.sequences import adding as adding
from fdl.data.synthetic.sequences import copy_memory as copy_memory
from fdl.data.synthetic.shapes import CAPTION_WORDS as CAPTION_WORDS
from fdl.data.synthetic.shapes import SHAPE_FACTORS as SHAPE_FACTORS
from fdl.data.synthetic.shapes import caption_text as caption_text
from fdl.data.synthetic.shapes import captioned_shape as captioned_shape
from fdl.data.synthetic.signals import mnist1d as mnist1d
from fdl.data.synthetic.signals import mnist1d_row as mnist1d_row
from fdl.data.synthetic.signals import sawtooth as sawtooth


def __dir__() -> list[str]:
    # TAB shows what users call, not the files that it is written in.
    public = {name: value for name, value in globals().items() if not name.startswith("_")}
    return sorted(name for name in public if not isinstance(public[name], _ModuleType))
