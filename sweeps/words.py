"""Words of messages."""


def count(number: float, noun: str) -> str:
    """A count with its noun in the right number.

    >>> count(1, "trial"), count(0, "trial"), count(2.0, "other error")
    ('1 trial', '0 trials', '2 other errors')
    """
    amount = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{amount} {noun}" if number == 1 else f"{amount} {noun}s"
