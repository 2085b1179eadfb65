"""`python -m escoita` is the `escoita` command."""

from escoita.cli import main


main()
