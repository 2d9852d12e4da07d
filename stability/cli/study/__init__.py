"""From the text of the options, or of a study file, to a `Study`; every fault at once."""
