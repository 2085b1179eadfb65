"""Define the records: files of measurements, from which cards, reports and pages are made."""
