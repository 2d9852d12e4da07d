"""Readers of the files and storages of other tools, one module each."""
