"""Train or evaluate a recipe on hardware of the Hub."""
