"""Tasks: a model, data and an optimizer as an Experiment."""

from fdl.public import public as _public
from fdl.tasks import contrastive_losses as contrastive_losses
from fdl.tasks import games as games
from fdl.tasks import gan_losses as gan_losses
from fdl.tasks import generation as generation
from fdl.tasks import metric_losses as metric_losses
from fdl.tasks import noise as noise
from fdl.tasks import samplers as samplers
from fdl.tasks.adversarial import adversarial as adversarial
from fdl.tasks.adversarial import adversarial_learner as adversarial_learner
from fdl.tasks.adversarial_training import adversarial_training as adversarial_training
from fdl.tasks.adversarial_training import adversarial_training_learner as adversarial_training_learner
from fdl.tasks.alpha_zero import alpha_zero as alpha_zero
from fdl.tasks.alpha_zero import search_player as search_player
from fdl.tasks.averaging import with_ema as with_ema
from fdl.tasks.contrastive import clip as clip
from fdl.tasks.contrastive import clip_learner as clip_learner
from fdl.tasks.contrastive import contrastive as contrastive
from fdl.tasks.contrastive import contrastive_learner as contrastive_learner
from fdl.tasks.ctc import ctc as ctc
from fdl.tasks.ctc import ctc_learner as ctc_learner
from fdl.tasks.density import conditional_density as conditional_density
from fdl.tasks.density import density_learner as density_learner
from fdl.tasks.detection import detect as detect
from fdl.tasks.detection import detection as detection
from fdl.tasks.detection import detection_learner as detection_learner
from fdl.tasks.detection import precision_over as precision_over
from fdl.tasks.diffusion import diffusion as diffusion
from fdl.tasks.diffusion import diffusion_learner as diffusion_learner
from fdl.tasks.diffusion import flow_matching as flow_matching
from fdl.tasks.diffusion import flow_matching_learner as flow_matching_learner
from fdl.tasks.distillation import distillation as distillation
from fdl.tasks.distillation import distillation_learner as distillation_learner
from fdl.tasks.equalised_odds import OddsRule as OddsRule
from fdl.tasks.equalised_odds import chance_of_yes as chance_of_yes
from fdl.tasks.equalised_odds import equalised_odds as equalised_odds
from fdl.tasks.fine_tuning import frozen as frozen
from fdl.tasks.fine_tuning import warm_start as warm_start
from fdl.tasks.fitting import fitting as fitting
from fdl.tasks.gradient import State as State
from fdl.tasks.gradient import gradient_learner as gradient_learner
from fdl.tasks.group_dro import group_dro as group_dro
from fdl.tasks.group_dro import group_dro_learner as group_dro_learner
from fdl.tasks.invariant_risk import invariant_risk as invariant_risk
from fdl.tasks.invariant_risk import invariant_risk_learner as invariant_risk_learner
from fdl.tasks.language import language_learner as language_learner
from fdl.tasks.language import language_modelling as language_modelling
from fdl.tasks.likelihoods import bernoulli as bernoulli
from fdl.tasks.likelihoods import gaussian as gaussian
from fdl.tasks.masked_language import masked_language_learner as masked_language_learner
from fdl.tasks.masked_language import masked_language_modelling as masked_language_modelling
from fdl.tasks.metric_learning import arcface as arcface
from fdl.tasks.metric_learning import arcface_learner as arcface_learner
from fdl.tasks.metric_learning import metric_learner as metric_learner
from fdl.tasks.metric_learning import metric_learning as metric_learning
from fdl.tasks.multilabel import multilabel as multilabel
from fdl.tasks.multilabel import multilabel_learner as multilabel_learner
from fdl.tasks.neighbours import neighbour_labels as neighbour_labels
from fdl.tasks.perceptron import adaline as adaline
from fdl.tasks.perceptron import adaline_learner as adaline_learner
from fdl.tasks.perceptron import perceptron as perceptron
from fdl.tasks.perceptron import perceptron_learner as perceptron_learner
from fdl.tasks.policy_gradient import ppo as ppo
from fdl.tasks.policy_gradient import reinforce as reinforce
from fdl.tasks.privacy_accounting import noise_multiplier_for as noise_multiplier_for
from fdl.tasks.privacy_accounting import privacy_spent as privacy_spent
from fdl.tasks.private import private_classification as private_classification
from fdl.tasks.private import private_classification_learner as private_classification_learner
from fdl.tasks.private_gradient import Privacy as Privacy
from fdl.tasks.quantisation import quantisation_learner as quantisation_learner
from fdl.tasks.quantisation import vector_quantisation as vector_quantisation
from fdl.tasks.reconstruction import l1_penalty as l1_penalty
from fdl.tasks.reconstruction import masking_noise as masking_noise
from fdl.tasks.reconstruction import rate_penalty as rate_penalty
from fdl.tasks.reconstruction import reconstruction as reconstruction
from fdl.tasks.reconstruction import reconstruction_learner as reconstruction_learner
from fdl.tasks.segmentation import segmentation as segmentation
from fdl.tasks.segmentation import segmentation_learner as segmentation_learner
from fdl.tasks.self_play import network_of as network_of
from fdl.tasks.self_play import self_play as self_play
from fdl.tasks.self_play import self_play_learner as self_play_learner
from fdl.tasks.sequence_to_sequence import sequence_learner as sequence_learner
from fdl.tasks.sequence_to_sequence import sequence_to_sequence as sequence_to_sequence
from fdl.tasks.supervised import classification as classification
from fdl.tasks.supervised import classification_learner as classification_learner
from fdl.tasks.supervised import regression as regression
from fdl.tasks.supervised import regression_learner as regression_learner
from fdl.tasks.training import BatchTraining as BatchTraining
from fdl.tasks.training import Training as Training
from fdl.tasks.training import experiment_over as experiment_over
from fdl.tasks.variational import variational as variational
from fdl.tasks.variational import variational_learner as variational_learner

_MODULES = (
    "contrastive_losses",
    "games",
    "gan_losses",
    "generation",
    "gradient",
    "metric_losses",
    "noise",
    "samplers",
)
"""Whose functions users name by their module."""


def __dir__() -> list[str]:
    return _public(globals(), modules=_MODULES)
