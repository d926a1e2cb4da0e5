"""Tasks: a model, data and an optimizer as an Experiment."""

from fdl.tasks.gradient import State as State
from fdl.tasks.gradient import experiment_over as experiment_over
from fdl.tasks.gradient import gradient_learner as gradient_learner
from fdl.tasks.supervised import classification as classification
from fdl.tasks.supervised import regression as regression
