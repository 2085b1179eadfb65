"""Build the tabs of the page."""
