"""Topics and the templates that find a camera in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.topics import Template, Topics, is_id

ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


def test_the_topics_of_the_contract() -> None:
    topics = Topics()
    assert topics.frames("door") == "nanofleet/frames/door"
    assert topics.results("door") == "nanofleet/results/door"
    assert topics.rejects("door") == "nanofleet/rejects/door"
    assert topics.snapshot("door") == "nanofleet/snapshots/door"
    assert topics.snapshot_notice("door") == "nanofleet/snapshots/door/notice"
    assert topics.worker("w1") == "nanofleet/workers/w1"
    assert topics.model_command() == "nanofleet/control/model"
    assert topics.model_command("w1") == "nanofleet/control/w1/model"
    assert Topics("site/cams").frames("door") == "site/cams/frames/door"


@pytest.mark.parametrize("text", ["a", "Door-1_b", "x" * 64])
def test_an_id(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize("text", ["", "x" * 65, "a/b", "a b", "+", "#", "ä", "a\n", "٣", "a\0"])
def test_no_id(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize(
    "topic",
    [
        "nanofleet/replies/door/1",
        "nanofleet/replies/door/me/1",
        "nanofleet/replies/door/" + "/".join("x" * 16),
    ],
)
def test_replies_are_followed_below_their_cameras_topic(topic: str) -> None:
    assert Topics().is_reply(topic, "door")


@pytest.mark.parametrize(
    "topic",
    [
        "nanofleet/replies",
        "nanofleet/replies/door",
        "nanofleet/replies/door/",
        "nanofleet/replies/garden/1",
        "nanofleet/replies/doors/1",
        "nanofleet/replies/1",
        "nanofleet/frames/door",
        "homeassistant/switch/door/set",
        "nanofleet/repliesx/door/me",
        "x/nanofleet/replies/door/me",
        "nanofleet/replies/door/+",
        "nanofleet/replies/door/#",
        "nanofleet/replies/door/a\0",
        "nanofleet/replies/door/a\x7f",
        "nanofleet/replies/door/\ufeff",
        "nanofleet/replies/door/" + "/" * 250,  # Mosquitto hangs up on who publishes there
        "nanofleet/replies/door/" + "x" * 257,
        "",
    ],
)
def test_other_response_topics_are_not(topic: str) -> None:
    assert not Topics().is_reply(topic, "door")


def test_a_template_matches_whole_levels() -> None:
    template = Template("frigate/{camera}/{object}/snapshot")
    assert template.filter == "frigate/+/+/snapshot"
    assert template.match("frigate/door/cat/snapshot") == {"camera": "door", "object": "cat"}
    assert template.match("frigate/door/snapshot") is None
    assert template.match("frigate/door/cat/snapshot/x") is None
    assert template.match("x/frigate/door/cat/snapshot") is None
    assert template.match("frigate/do/or/cat/snapshot") is None


def test_a_template_is_no_regular_expression_and_no_format_string() -> None:
    assert Template("a.b/{camera}").match("axb/door") is None
    assert Template("a.b/{camera}").match("a.b/door") == {"camera": "door"}
    with pytest.raises(ValueError, match="plain text or one"):
        Template("nanofleet/{camera.__class__}")


@pytest.mark.parametrize(
    "text",
    [
        *("frames", "", "a/{room}", "{camera}/{camera}", "a/{camera}/{x}/{x}", "a/x{camera}"),
        *("a/+/{camera}", "a/{camera}/#", "a/{camera}/{}", "a/{Camera}", "a\0/{camera}"),
    ],
)
def test_a_wrong_template_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"placeholder|camera"):
        Template(text)


@given(camera=ids, thing=ids)
def test_what_a_template_makes_it_also_reads(camera: str, thing: str) -> None:
    template = Template("frigate/{camera}/{object}/snapshot")
    assert template.match(f"frigate/{camera}/{thing}/snapshot") == {"camera": camera, "object": thing}


@given(topic=st.text())
def test_any_topic_can_be_looked_at(topic: str) -> None:
    found = Template("nanofleet/frames/{camera}").match(topic)
    assert (found is not None) == (topic.startswith("nanofleet/frames/") and topic.count("/") == 2)
