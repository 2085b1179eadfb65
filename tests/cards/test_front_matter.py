import pytest
import yaml

from escoita.cards.front_matter import Conflict, front_digests, key_digest, keys, merge, split
from escoita.errors import PublishError


OURS = "language: gl\nlicense: mit\ntags:\n- speech\n- lora"
TOLD = front_digests(OURS)


def revised(existing: str, new: str = OURS, recorded: dict[str, str] = TOLD, force: bool = False) -> str:
    merged, conflicts = merge(existing, new, recorded, force)
    assert not conflicts or force
    return merged


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_card_is_split_as_on_the_hub(bom: str, line_end: str) -> None:
    card = f"{bom}---\nlicense: mit\n---\nText.\n\n---\n".replace("\n", line_end)
    opening, front, rest = split(card)
    assert opening + front + rest == card
    assert (opening, front) == (f"{bom}---{line_end}", "license: mit")
    assert split(f"{bom}Text.\n---\n") == ("", "", f"{bom}Text.\n---\n")


def test_keys_end_with_their_values() -> None:
    front = 'a: 1 # one\n# of b\nb:\n- x # y\n\nc: {d: "}"}\ne: |\n  text\n\nf:\ng: [1,\n 2]\n'
    found = {key.name: front[key.start : key.end] for key in keys(front)}
    assert found == {
        "a": "a: 1",
        "b": "b:\n- x",
        "c": 'c: {d: "}"}',
        "e": "e: |\n  text",
        "f": "f:",
        "g": "g: [1,\n 2]",
    }
    assert {key.name: key.value for key in keys(front)} == yaml.safe_load(front)


@pytest.mark.parametrize(
    "front, message",
    [
        ("a: [", "YAML"),
        ("a: \x00", "YAML"),
        ("a: 2026-13-45", "month must be"),
        (f"a: {'[' * 9999}", "YAML"),
        ("- a", "mapping"),
        ("text", "mapping"),
        ("{a: 1}", "mapping"),
        ("a: 1\na: 2", "each key once"),
    ],
)
def test_a_front_matter_that_cannot_be_revised_is_refused(front: str, message: str) -> None:
    with pytest.raises(PublishError) as error:
        merge(front, OURS, {}, False)
    assert error.value.path == "README.md" and message in str(error.value)


def test_spellings_of_a_value_are_equal() -> None:
    assert key_digest("gl") == key_digest(["gl"]) != key_digest(["gl", "pt"])
    assert key_digest([{"value": 1.0}, 0.0]) == key_digest([{"value": 1}, 0]) != key_digest([{"value": 1.5}, 0])
    assert key_digest({"a": 1, "b": 2}) == key_digest({"b": 2, "a": 1})


def test_generated_keys_are_replaced_in_place() -> None:
    assert revised(OURS) == OURS
    assert (
        revised("language: gl\nlicense: apache-2.0", recorded=front_digests("language: gl\nlicense: apache-2.0"))
        == OURS
    )
    assert revised("", recorded={}) == OURS


def test_added_keys_are_kept_with_their_comments() -> None:
    mine = "mine: {a: 1} # mine\n\n# of tags"
    existing = f"# first\nlanguage: gl # Galician\n{mine}\ntags: # which\n- speech\n- lora\nlast:   yes"
    assert revised(existing, recorded=TOLD | {"front.license": "0" * 12}) == existing
    assert (
        revised(existing, recorded=front_digests("language: gl\ntags: [speech, lora]")) == f"{existing}\nlicense: mit"
    )
    other = revised(existing, OURS.replace("language: gl", "language:\n- gl\n- pt"), TOLD)
    assert other == existing.replace("language: gl", "language:\n- gl\n- pt")


def test_added_tags_are_kept() -> None:
    existing = OURS.replace("- speech", "- mine # my own\n  # and\n- speech")
    assert revised(existing) == existing
    assert revised(existing, f"{OURS}\n- galician") == f"{existing}\n- galician"
    assert revised(existing, OURS.replace("- lora", "- 'yes'")) == f"{existing}\n- 'yes'"
    flow = "language: gl\nlicense: mit\ntags: [mine]"
    assert yaml.safe_load(revised(flow, recorded={}))["tags"] == ["mine", "speech", "lora"]
    assert yaml.safe_load(revised("tags: mine", recorded={}))["tags"] == ["mine", "speech", "lora"]


@pytest.mark.parametrize("tags", ["tags:\n- speech", "tags: [mine, speech] # few", "tags:"])
def test_a_removed_tag_is_not_restored_until_the_generated_tags_change(tags: str) -> None:
    existing = f"language: gl\nlicense: mit\n{tags}"
    assert revised(existing) == existing
    assert "galician" in yaml.safe_load(revised(existing, f"{OURS}\n- galician"))["tags"]


def test_unedited_tags_are_replaced() -> None:
    assert revised(OURS, OURS.replace("- lora", "- whole")) == OURS.replace("- lora", "- whole")


@pytest.mark.parametrize("recorded", [TOLD, {}])
def test_an_edited_generated_key_is_a_conflict(recorded: dict[str, str]) -> None:
    existing = OURS.replace("license: mit", "license: gemma # as it says")
    _, conflicts = merge(existing, OURS, recorded, False)
    assert conflicts == [Conflict("license of the front matter", "license: gemma", "license: mit")]
    assert revised(existing, recorded=recorded, force=True) == OURS.replace("mit", "mit # as it says")


def test_a_comment_in_a_generated_list_is_a_conflict() -> None:
    existing = OURS.replace("language: gl", "language:\n- gl # Galego\n- pt")
    recorded = front_digests(existing)
    _, conflicts = merge(existing, OURS, recorded, False)
    assert [conflict.where for conflict in conflicts] == ["language of the front matter"]
    assert revised(existing, recorded=recorded, force=True) == OURS


def test_a_removed_key_is_not_restored() -> None:
    existing = OURS.replace("license: mit\n", "")
    assert revised(existing) == existing


def test_a_key_that_is_no_longer_generated_is_removed_unless_edited() -> None:
    shorter = OURS.replace("license: mit\n", "")
    assert revised(OURS, shorter) == shorter
    changed = OURS.replace("mit", "gemma")
    assert revised(changed, shorter) == changed
    assert revised(OURS.replace("license: mit", "license: mit # why"), shorter) == shorter.replace(
        "tags", " # why\ntags"
    )


def test_indented_keys_stay_indented() -> None:
    existing = "  mine: 1\n  license: mit"
    assert yaml.safe_load(revised(existing, recorded={})) == {"mine": 1} | yaml.safe_load(OURS)
    assert revised(existing, recorded={}).startswith(existing)


def test_line_ends_are_kept() -> None:
    merged, _ = merge("mine: 1", OURS, {}, False, "\r\n")
    assert merged == f"mine: 1\n{OURS}".replace("\n", "\r\n")


def test_an_anchor_does_not_change_an_edited_value() -> None:
    with pytest.raises(PublishError):
        merge("license: &l apache-2.0\nmine: *l", OURS, {}, True)
