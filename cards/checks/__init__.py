"""
What `escoita verify` looks at, one concern a file.

    check.py        a line of the answer: what, and whether it holds
    files.py        SHA256SUMS; that nothing but safetensors holds weights
    references.py   transcripts that were not published, from who has them
    rates.py        eval/results.json against what the predictions come to
    drawings.py     what is drawn in each plot
    leaderboards.py .eval_results, which leaderboards of the Hub read
    text.py         the blocks of the card
    front.py        model-index
    names.py        repositories in the code of the card, framework versions
    weights.py      adapter and base: the digests that the records give
    hearing.py      some clips heard again
"""
