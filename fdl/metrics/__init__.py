"""Metrics: on the device as sums that add up exactly over batches, on the host by well-kept libraries.

What an evaluation returns is a NamedTuple of sums with a property `value`: `Mean`, `Overlap` or
`Calibration`; adding them up field by field over batches gives a whole split's.
"""

from fdl.metrics.boxes import box_overlap as box_overlap
from fdl.metrics.boxes import mean_average_precision as mean_average_precision
from fdl.metrics.calibration import Calibration as Calibration
from fdl.metrics.calibration import calibration as calibration
from fdl.metrics.classification import f1 as f1
from fdl.metrics.classification import roc_auc as roc_auc
from fdl.metrics.frechet import frechet_distance as frechet_distance
from fdl.metrics.means import Mean as Mean
from fdl.metrics.means import accuracy as accuracy
from fdl.metrics.means import mean as mean
from fdl.metrics.means import top_k_accuracy as top_k_accuracy
from fdl.metrics.overlap import Overlap as Overlap
from fdl.metrics.overlap import overlap as overlap
from fdl.metrics.text import bleu as bleu
from fdl.metrics.text import perplexity as perplexity
from fdl.metrics.text import word_error_rate as word_error_rate
from fdl.public import public as _public


def __dir__() -> list[str]:
    return _public(globals())
