"""Write the HTML report of an evaluation: texts, plots, tables, alignments and recordings."""
