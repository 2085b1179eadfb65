"""
The comparisons of `escoita verify`, one subject in each module.

    check.py        the result of one comparison, and its four verdicts
    files.py        SHA256SUMS; that nothing but safetensors holds weights
    signature.py    who signed, and whether a file was changed afterwards
    consistency.py  recipe, records, adapter and predictions with each other
    references.py   transcripts that were not published, from somebody who has them
    rates.py        eval/results.json with the rates of the predictions
    drawings.py     the plots
    leaderboards.py .eval_results, which leaderboards of the Hub read
    version.py      which version of escoita wrote the card
    text.py         the sections of the card
    front.py        the front matter, with model-index
    names.py        repositories in the code of the card, framework versions
    weights.py      adapter and base: the digests that the records give
    hearing.py      some clips transcribed again
"""
