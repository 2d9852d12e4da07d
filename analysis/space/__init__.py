"""How the error depends on the hyperparameters: edges, best region, subspaces, importance."""
