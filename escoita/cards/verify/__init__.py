"""
The comparisons of `escoita verify`, one subject in each module.

    verify.py           the order of all comparisons
    check.py            the result of one comparison with its four verdicts, and the version that wrote a card
    published_files.py  SHA256SUMS, safetensors, plots, rates for leaderboards
    signature.py        who signed, and whether a file was changed afterwards
    consistency.py      recipe, records, adapter and predictions with each other
    recompute.py        eval/results.json with the rates of the predictions; transcripts that were not published
    adapter.py          adapter, base and prompt with the records
    text.py             the sections of the card, and the names in it
    front_matter.py     the front matter, with model-index
    reproduce.py        some clips transcribed again
"""
