"""What a trained network does, and why: pure functions of what it computes, its variables and rows."""

from fdl.analysis.agreement import rank_agreement as rank_agreement
from fdl.analysis.agreement import top_agreement as top_agreement
from fdl.analysis.attacks import fgsm as fgsm
from fdl.analysis.attacks import pgd as pgd
from fdl.analysis.attacks import square_attack as square_attack
from fdl.analysis.attention_rollout import attention_rollout as attention_rollout
from fdl.analysis.attention_rollout import attention_weights as attention_weights
from fdl.analysis.corruptions import CORRUPTIONS as CORRUPTIONS
from fdl.analysis.corruptions import Corruption as Corruption
from fdl.analysis.corruptions import corrupted as corrupted
from fdl.analysis.faithfulness import deletion_curve as deletion_curve
from fdl.analysis.faithfulness import insertion_curve as insertion_curve
from fdl.analysis.grad_cam import grad_cam as grad_cam
from fdl.analysis.gradients import gradient as gradient
from fdl.analysis.gradients import gradient_times_input as gradient_times_input
from fdl.analysis.gradients import integrated_gradients as integrated_gradients
from fdl.analysis.gradients import smooth_grad as smooth_grad
from fdl.analysis.guided_backpropagation import guided_backpropagation as guided_backpropagation
from fdl.analysis.kernel_shapley import kernel_shapley as kernel_shapley
from fdl.analysis.lime import lime as lime
from fdl.analysis.occlusion import occlusion as occlusion
from fdl.analysis.randomisation import parameter_randomisation as parameter_randomisation
from fdl.analysis.scores import energy_score as energy_score
from fdl.analysis.scores import exposure as exposure
from fdl.analysis.scores import max_softmax as max_softmax
from fdl.analysis.shapley import exact_shapley as exact_shapley
from fdl.analysis.shapley import permutation_shapley as permutation_shapley
from fdl.analysis.smoothing import Certificate as Certificate
from fdl.analysis.smoothing import certify as certify
from fdl.analysis.smoothing import noisy_counts as noisy_counts
from fdl.analysis.temperature import fit_temperature as fit_temperature
from fdl.public import public as _public


def __dir__() -> list[str]:
    return _public(globals())
