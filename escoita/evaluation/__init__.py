"""
Evaluate adapters and baselines on test corpora.

    request.py        what is measured: systems, corpora, settings
    evaluate.py       the steps of an evaluation, as `eval/run.py` calls them
    predict.py        transcribe; shards.py divides the work, predictions.py and prediction_folder.py hold the files
    aggregate.py      the record, from counts.py (edits of each utterance) and bootstrap.py (intervals)
    verdicts.py       the verdict on two systems
    presentation.py   rows, names, verdicts and notes, for card, report, summary, gate and demo page
    report/           the HTML report
    compare.py        comparison of two evaluations; gate.py fails if the new one is worse
    errors.py         errors of this package
"""
