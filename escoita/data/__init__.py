"""Read corpora in common layouts into rows of one schema, check every clip, and report every rejected row."""
