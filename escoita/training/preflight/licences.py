"""What the licence of a base obliges those who publish something made from it."""

from typing import NamedTuple


class Terms(NamedTuple):
    """What is to be done, and where it is said."""

    obliges: str
    source: str


# By what the Hub calls a licence. Gemma 4 is under Apache-2.0, Gemma 3n and older ones under the terms of Gemma: so
# says the head of those terms.
LICENCES = {
    "apache-2.0": Terms(
        "keep the licence and its notices beside what is derived, and say what was changed",
        "https://www.apache.org/licenses/LICENSE-2.0, section 4",
    ),
    "mit": Terms("keep the copyright line and the permission notice", "https://opensource.org/license/mit"),
    "gemma": Terms(
        "pass on the restrictions of use, a copy of the terms and the notice, and say that files were changed",
        "https://ai.google.dev/gemma/terms, section 3.1",
    ),
    "cc-by-4.0": Terms(
        "name the authors and the licence, and say what was changed",
        "https://creativecommons.org/licenses/by/4.0/legalcode.en, section 3",
    ),
    "cc-by-nc-4.0": Terms(
        "no commercial use; name the authors and the licence, and say what was changed",
        "https://creativecommons.org/licenses/by-nc/4.0/legalcode.en, sections 2 and 3",
    ),
}
