"""Define, read and validate recipes, which describe the training, evaluation and publication of an adapter."""
