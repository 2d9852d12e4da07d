from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

X, Y = load_diabetes(return_X_y=True)


def fit(trial):
    split = train_test_split(X, Y, test_size=142, random_state=trial["seed"])
    predicted = Ridge(alpha=trial["alpha"]).fit(split[0], split[2]).predict(split[1])
    return ((predicted - split[3]) ** 2).mean()  # of about 3000
