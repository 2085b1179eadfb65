import json

import pytest

from escoita.errors import AudioError, AudioLimitError, BusyError, EscoitaError, ShareError
from escoita.serve.errors import ApiError, api_error


@pytest.mark.parametrize(
    ("error", "status", "retries"),
    [
        (AudioError("is not audio", path="/srv/escoita-1/x"), 400, False),
        (AudioLimitError("is too long", path="/srv/escoita-1/x", max_seconds=30.0), 413, False),
        (BusyError("full"), 429, True),
        (ShareError("full"), 429, True),
        (EscoitaError("is not known", key="language"), 400, False),
        (EscoitaError("the page is being closed"), 503, True),
        (ApiError(404, "no"), 404, False),
        (KeyError("/secret"), 500, False),
    ],
)
def test_statuses(error: Exception, status: int, retries: bool) -> None:
    answer = api_error(error, "../folder/clip.wav").response()
    body = json.loads(bytes(answer.body))
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == retries
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert "/srv" not in body["error"]["message"]
    assert "secret" not in body["error"]["message"]
