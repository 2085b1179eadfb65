"""The recipe: what to train on what, how to evaluate it and where to publish it."""
