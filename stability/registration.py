"""The built-in objectives, with the facts that `sweeps` needs before it imports one. No torch."""

from stability.training.settings import LATER_SETTINGS
from sweeps.study.objectives import ObjectiveFacts

OBJECTIVES = {
    "stability.objective:train_images": ObjectiveFacts(old_defaults=LATER_SETTINGS, unit="percent")
}
