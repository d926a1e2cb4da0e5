"""Models in Flax Linen: pure `init` and `apply`; they know nothing of tasks, files or meshes."""

from fdl.models.dropout import Dropout as Dropout
from fdl.models.mlp import MLP as MLP
from fdl.models.norms import batch_norm as batch_norm
from fdl.models.norms import layer_norm as layer_norm
