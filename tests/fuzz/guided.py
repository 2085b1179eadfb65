"""
Run the property tests of texts with coverage guidance: Atheris chooses the bytes from which Hypothesis makes inputs.

    pip install atheris
    python tests/fuzz/guided.py recipe -runs=20000 -max_len=4096 -len_control=0

If there is no wheel of Atheris, `make fuzz` tests the same properties without it.
"""

import sys
from pathlib import Path

import atheris


sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["escoita", "cards"]):
    from tests.fuzz import test_texts


TRIED = {
    "recipe": test_texts.test_a_recipe_loads_or_is_refused,
    "record": test_texts.test_a_record_is_read_or_refused,
    "card": test_texts.test_a_card_is_revised_and_checked_or_refused,
}


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TRIED:
        sys.exit(f"usage: guided.py {'|'.join(TRIED)} [options of libFuzzer, such as -runs=20000]")
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TRIED[sys.argv[1]].hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
    atheris.Fuzz()
