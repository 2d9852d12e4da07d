"""`python -m stability.cli` is `stability`."""

from stability.cli import main

main()
