"""Test Spaces of the double with the real client."""

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, SpaceHardware
from huggingface_hub.errors import HfHubHTTPError

from tests.hub_double import HubDouble
from tests.hub_double.conftest import client, status


SPACE = "ana/page"


def push(api: HfApi) -> str:
    commit = api.create_commit(SPACE, [CommitOperationAdd("app.py", b"1")], commit_message="Push", repo_type="space")
    return str(commit.oid)


def test_a_space_builds_starts_and_runs(hub: HubDouble, api: HfApi) -> None:
    api.create_repo(SPACE, repo_type="space", space_sdk="gradio", space_hardware=SpaceHardware.T4_SMALL)
    assert api.get_space_runtime(SPACE).stage == "NO_APP_FILE"
    oid = push(api)
    stages = [api.get_space_runtime(SPACE) for _ in range(5)]
    assert [runtime.stage for runtime in stages] == ["BUILDING", "BUILDING", "APP_STARTING", "RUNNING", "RUNNING"]
    assert stages[0].raw["sha"] != oid and stages[1].raw["sha"] == oid
    assert stages[0].hardware is None and stages[-1].hardware == "t4-small"


def test_settings_of_a_space_are_set_read_and_deleted(hub: HubDouble, api: HfApi) -> None:
    given = [{"key": "A", "value": "1"}]
    api.create_repo(SPACE, repo_type="space", space_sdk="gradio", space_variables=given, space_secrets=given)
    api.add_space_variable(SPACE, "B", "2")
    api.add_space_secret(SPACE, "TOKEN", "hf_secret")
    api.delete_space_variable(SPACE, "A")
    assert {key: each.value for key, each in api.get_space_variables(SPACE).items()} == {"B": "2"}
    assert set(api.get_space_secrets(SPACE)) == {"A", "TOKEN"}
    assert hub.store.repos["space", SPACE].space.secrets["TOKEN"] == "hf_secret"
    assert api.request_space_hardware(SPACE, SpaceHardware.ZERO_A10G).requested_hardware == "zero-a10g"
    assert api.restart_space(SPACE).stage == "BUILDING"


def test_an_error_has_a_message(hub: HubDouble, api: HfApi) -> None:
    api.create_repo(SPACE, repo_type="space", space_sdk="gradio")
    hub.store.repos["space", SPACE].space.course = ("BUILDING", "BUILD_ERROR")
    hub.store.repos["space", SPACE].space.error = "no such package"
    push(api)
    runtime = api.wait_for_space(SPACE, poll_interval=0.01)
    while runtime.stage != "BUILD_ERROR":
        runtime = api.wait_for_space(SPACE, poll_interval=0.01)
    assert runtime.raw["errorMessage"] == "no such package"


def test_other_users_cannot_change_a_space_and_an_sdk_is_required(hub: HubDouble, api: HfApi) -> None:
    api.create_repo(SPACE, repo_type="space", space_sdk="gradio")
    with pytest.raises(HfHubHTTPError) as refused:
        client(hub, "bob").add_space_secret(SPACE, "A", "1")
    assert status(refused) == 403
