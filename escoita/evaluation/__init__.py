"""
An adapter or a baseline and corpora in; predictions, results and a report out.

    run.py          the whole: material and probes are what is heard, systems hear it, earlier ones are taken beside
    predictions.py  what one system heard in one corpus; folder.py reads all of them
    results.py      rates of the predictions: tally counts edits and faults and draws anew (bootstrap), slices cuts
    report.py       the page, made of what stands in page/
    gate.py         one evaluation against another, by compare
    metric/         the rates as a metric of the evaluate library

While it hears, journal keeps each batch for a run that is killed, and processes lets several share the work.
"""
