"""Records: what was measured, as files that cards, reports and pages are made from."""
