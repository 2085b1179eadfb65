"""`python -m escoita` is the `escoita` command."""

from escoita.cli.main import main


main()
