"""Read spreadsheets (.xlsx, .xls, .ods) in a process with limits: few bytes can declare billions of cells."""

import zipfile
from pathlib import Path
from typing import Any

from escoita.errors import CorpusError, EscoitaError
from escoita.utils.limits import MEBIBYTE
from escoita.utils.sandbox import SandboxLimitError, limited


SUFFIXES = (".xlsx", ".xlsm", ".xls", ".ods")
SPREADSHEET_BYTES, UNPACKED_BYTES = 64 * MEBIBYTE, 512 * MEBIBYTE
MOST_CELLS = 10_000_000
_SECONDS, _MEMORY = 60, 2048 * MEBIBYTE


def read_sheets(path: Path) -> dict[str, list[list[str]]]:
    """
    Return the cells of each sheet as text, by the name of the sheet.

    Args:
        path (`Path`): The file.

    Raises:
        CorpusError: The file is damaged, encrypted or too large.
    """
    if (size := path.stat().st_size) > SPREADSHEET_BYTES:
        raise CorpusError(f"{size:,} bytes; at most {SPREADSHEET_BYTES:,} are read", path=path)
    hint = "save the sheet as CSV"
    try:
        return limited(__name__, str(path.absolute()), "spreadsheet", _SECONDS, _MEMORY)
    except SandboxLimitError as error:
        raise CorpusError(f"the spreadsheet {error.problem}", path=path, hint=hint) from error
    except EscoitaError as error:
        raise CorpusError(error.problem, path=path, hint=hint) from error


def respond(name: str) -> dict[str, list[list[str]]]:
    """Read the sheets of a file in the process with limits."""
    from python_calamine import CalamineError, CalamineWorkbook

    if zipfile.is_zipfile(name):
        with zipfile.ZipFile(name) as archive:
            if sum(member.file_size for member in archive.infolist()) > UNPACKED_BYTES:
                raise EscoitaError(f"unpacks to more than {UNPACKED_BYTES:,} bytes")
    try:
        workbook = CalamineWorkbook.from_path(name)
        cells, sheets = 0, {}
        for title in workbook.sheet_names:
            sheet = workbook.get_sheet_by_name(title)
            cells += sheet.height * sheet.width
            if cells > MOST_CELLS:
                raise EscoitaError(f"more than {MOST_CELLS:,} cells")
            sheets[title] = [[_text(cell) for cell in row] for row in sheet.iter_rows()]
    except (CalamineError, OSError, ValueError) as error:
        raise EscoitaError(f"not a spreadsheet that can be read ({' '.join(str(error).split())[:200]})") from error
    return sheets


def _text(cell: Any) -> str:
    """Return a cell as it is shown: a whole number, which spreadsheets store as floating point, without decimals."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
