"""
Write the report of an evaluation again, as one HTML file.

    python eval/report.py --run runs/quickstart-uzbek
"""

from escoita.cli.evaluation import report
from escoita.cli.main import script


if __name__ == "__main__":
    script(report)
