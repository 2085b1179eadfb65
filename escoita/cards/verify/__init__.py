"""
Verify published adapters; each module holds the checks of one subject.

    verify.py           order of all checks
    check.py            result of one check with its four verdicts, and the version that wrote a card
    published_files.py  SHA256SUMS, safetensors, plots, rates for leaderboards
    signature.py        signer, and changes after signing
    consistency.py      recipe, records, adapter and predictions compared with each other
    recompute.py        eval/results.json compared with the rates of the predictions; private transcripts
    adapter.py          adapter, base and prompt compared with the records
    text.py             sections of the card, and names in it
    front_matter.py     front matter, with model-index
    reproduce.py        some clips transcribed again
"""
