"""What is trained: models, data, the training loop, and the command line."""

from stability.registration import OBJECTIVES
from sweeps.study.objectives import register_objectives

__version__ = "0.1.0"

register_objectives(OBJECTIVES)
