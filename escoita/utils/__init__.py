"""General helpers: files, limits, formats, processes."""
