"""Check a recipe before training; see [`~escoita.training.preflight.report.examine`]."""
