"""Metrics: on the device as sums that add up exactly over batches, on the host by well-kept libraries.

What an evaluation returns has a property `value`, a split's exact one. Most are NamedTuples of sums, which
are added up field by field over batches: `Mean`, `Overlap`, `Calibration`, `Confusion`. `all_rows` keeps the
rows themselves for any function of all of them, as `largest_value`, `quantile`, `area_under_roc`.
"""

from fdl.metrics.all_rows import AllRows as AllRows
from fdl.metrics.all_rows import all_rows as all_rows
from fdl.metrics.all_rows import area_under_roc as area_under_roc
from fdl.metrics.all_rows import joined_rows as joined_rows
from fdl.metrics.all_rows import largest_value as largest_value
from fdl.metrics.all_rows import quantile as quantile
from fdl.metrics.boxes import box_overlap as box_overlap
from fdl.metrics.boxes import mean_average_precision as mean_average_precision
from fdl.metrics.calibration import Calibration as Calibration
from fdl.metrics.calibration import calibration as calibration
from fdl.metrics.classification import f1 as f1
from fdl.metrics.classification import roc_auc as roc_auc
from fdl.metrics.confusion import Confusion as Confusion
from fdl.metrics.confusion import confusion as confusion
from fdl.metrics.fairness import GroupRates as GroupRates
from fdl.metrics.fairness import demographic_parity_difference as demographic_parity_difference
from fdl.metrics.fairness import equalised_odds_difference as equalised_odds_difference
from fdl.metrics.fairness import group_rates as group_rates
from fdl.metrics.frechet import frechet_distance as frechet_distance
from fdl.metrics.means import Mean as Mean
from fdl.metrics.means import accuracy as accuracy
from fdl.metrics.means import mean as mean
from fdl.metrics.means import top_k_accuracy as top_k_accuracy
from fdl.metrics.overlap import Overlap as Overlap
from fdl.metrics.overlap import overlap as overlap
from fdl.metrics.selective import RiskCoverage as RiskCoverage
from fdl.metrics.selective import risk_coverage as risk_coverage
from fdl.metrics.text import bleu as bleu
from fdl.metrics.text import perplexity as perplexity
from fdl.metrics.text import word_error_rate as word_error_rate
from fdl.metrics.token_bleu import TokenBleu as TokenBleu
from fdl.metrics.token_bleu import token_bleu as token_bleu
from fdl.public import public as _public


def __dir__() -> list[str]:
    return _public(globals())
