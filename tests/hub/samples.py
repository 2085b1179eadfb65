"""Provide secrets and helpers for the tests of the scan."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from escoita.hub.scan import ForbiddenContentError, scan


# Invented, and assembled here so that no scanner reports this file.
TOKEN = "hf" + "_" + "aB3dE6gH9jK2" * 3
SECRETS = {
    "Hugging Face Token": TOKEN,
    "AWS Access Key": "AK" + "IA" + "ABCDEFGH12345678",
    "GitHub Token": "gh" + "p_" + "a1B2c3" * 6,
    "Private Key": "-----BEGIN " + "ENCRYPTED PRIVATE KEY-----",
    "Basic Auth Credentials": "https://ana:" + "hunter2" + "@example.org/corpus",
    "OpenAI Token": "sk-" + "proj-" + "a1B2c3D4" * 4,
    "Slack Token": "xox" + "b-12345678901-abcdefghij",
    "JSON Web Token": "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0" + ".dozjgNryP4J3",
    "Weights & Biases Key": "wandb" + "_v1_" + "aB3dE6gH9jK2" * 3,
}
HEX = "0a1b2c3d4e5f6789"
MIXED = "aB3dE6gH9jK2"
KEYS = {
    "OpenRouter Key": "sk-" + "or-v1-" + HEX * 4,
    "Groq Key": "gsk" + "_" + MIXED * 4 + "aB3d",
    "NVIDIA Key": "nv" + "api-" + MIXED * 5 + "_-aB",
    "Replicate Token": "r8" + "_" + MIXED * 3 + "a",
    "Kaggle Key": "KG" + "AT_" + HEX * 2,
    "Weights & Biases Key": "WANDB_API" + "_KEY=" + HEX * 2 + HEX[:8],
    "DigitalOcean Token": "do" + "p_v1_" + HEX * 4,
}
HIDDEN = "a secret (Hugging Face Token)"
HALVES = TOKEN[:20], TOKEN[20:]


def found(files: dict[str, bytes | Path]) -> list[str]:
    """Return the findings of a scan, or nothing if it passes."""
    try:
        scan(files)
    except ForbiddenContentError as error:
        assert all(line in str(error) for line in error.findings[:20])
        return error.findings
    return []


def parquet(columns: dict[str, list], metadata: dict[str, str] | None = None) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), sink)
    return sink.getvalue()
