"""Tasks: a model, data and an optimizer as an Experiment."""

from fdl.tasks.supervised import State as State
from fdl.tasks.supervised import classification as classification
from fdl.tasks.supervised import regression as regression
