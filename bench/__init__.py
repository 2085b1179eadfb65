"""What escoita claims of speed and memory, measured beside what people would do without it."""
