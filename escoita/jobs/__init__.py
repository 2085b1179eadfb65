"""A recipe that is trained or evaluated on hardware of the Hub."""
