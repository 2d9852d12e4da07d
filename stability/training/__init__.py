"""How a model is trained: recipe, schedule, optimizers, the loop, and how a training ended."""
