"""Run the `escoita` command by `python -m escoita`."""

from escoita.cli.main import main


main()
