"""What can be known of a training before money is spent on it; see [`~escoita.training.preflight.report.examine`]."""
