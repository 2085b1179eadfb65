"""The parts of the report: what it says, draws, aligns and plays."""
