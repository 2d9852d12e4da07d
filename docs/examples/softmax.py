import io
from functools import partial

import numpy as np
from sklearn.datasets import load_digits

X, Y = load_digits(return_X_y=True)
X = np.column_stack([X / 16, np.ones(len(X))])
TRAIN, TEST = 1397, 400


def fit(trial, saved):
    weights, done = np.zeros((65, 10)), 0
    if state := saved.load():
        with np.load(io.BytesIO(state)) as kept:
            weights, done = kept["weights"], int(kept["done"])
    for epoch in range(done, trial["epochs"]):
        for row in np.random.default_rng([trial["seed"], epoch]).permutation(TRAIN):
            share = np.exp(X[row] @ weights)
            weights -= trial["lr"] * np.outer(X[row], share / share.sum() - np.eye(10)[Y[row]])
        saved.maybe_save(partial(packed, weights=weights, done=epoch + 1))
    wrong = (np.argmax(X[TRAIN:] @ weights, axis=1) != Y[TRAIN:]).sum()
    return {"wrong": wrong, "n_eval": TEST, "chance": 89.25}


def packed(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()
