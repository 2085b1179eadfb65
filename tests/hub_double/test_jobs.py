"""Test jobs of the double with the real client."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.hub_double import HubDouble
from tests.hub_double.conftest import client, status


def test_a_job_is_sent_inspected_and_logged(hub: HubDouble, api: HfApi) -> None:
    job = api.run_uv_job("lighteval", script_args=["x"], flavor="cpu-basic", timeout="5m", secrets={"A": "1"})
    assert job.status.stage == "RUNNING" and job.owner.name == "ana"
    sent = hub.store.job_book.sent[job.id]
    assert sent["command"] == ["uv", "run", "lighteval", "x"] and sent["timeoutSeconds"] == 300
    assert list(api.fetch_job_logs(job_id=job.id, follow=True)) == ["step 1", "done"]
    assert api.wait_for_job(job_id=job.id).status.stage == "COMPLETED"
    assert {each.name for each in api.list_jobs_hardware()} == {"cpu-basic", "a100x4"}


def test_other_users_wrong_flavors_and_unknown_jobs_are_refused(hub: HubDouble, api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as refused:
        client(hub, "bob").run_uv_job("lighteval", flavor="cpu-basic", namespace="ana")
    assert status(refused) == 403
    with pytest.raises(HfHubHTTPError) as refused:
        api.run_uv_job("lighteval", flavor="abacus")
    assert status(refused) == 400
    with pytest.raises(HfHubHTTPError) as refused:
        api.inspect_job(job_id="0")
    assert status(refused) == 404
