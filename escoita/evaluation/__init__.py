"""
Evaluate adapters and baselines on test corpora.

    request.py        what is measured: systems, corpora, settings
    evaluate.py       the steps of an evaluation, as `eval/run.py` calls them
    predict.py        transcribe; shards.py divides the work, predictions.py and prediction_folder.py hold the files
    aggregate.py      the record, from counts.py (edits of each utterance) and bootstrap.py (intervals)
    verdicts.py       decide what one system compared with another is called
    presentation.py   rows, names, verdicts and notes, as the card, the report, the summary, the gate and the page show
    report/           the page of an evaluation
    compare.py        two evaluations compared; gate.py refuses an adapter that became worse
"""
