from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

X, Y = load_digits(return_X_y=True)


def fit(trial):
    split = train_test_split(X, Y, test_size=400, random_state=trial["seed"], stratify=Y)
    model = SVC(C=trial["C"], gamma=trial["gamma"]).fit(split[0], split[2])
    wrong = (model.predict(split[1]) != split[3]).sum()
    return {"wrong": wrong, "n_eval": 400, "chance": 89.8, "vectors": model.n_support_.sum()}
