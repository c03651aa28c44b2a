from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import ApiError, DocumentsUnconfigured, NotificationRefused
from handler.worker.documents.notifications import Source, read_notification
from handler.worker.jobs import is_notification
from tests.handler.worker.documents.events import ETAG, INPUT, TEST_EVENT, bridge_event, s3_event, s3_record


def read(values: Any) -> list[Source]:
    assert is_notification(values)
    return read_notification(values, INPUT)


def test_a_record_is_one_version_of_a_document() -> None:
    [source] = read(s3_event(s3_record("documents/a b+ö.txt", versionId="v1")))
    assert source == Source(INPUT, "documents/a b+ö.txt", "v1", ETAG, 5, "0055AED6DCD90281E5")
    assert source.name == "documents/a b+ö.txt/v1"


def test_without_versions_etag_and_sequencer_stand_for_one() -> None:
    for version in (None, "null"):
        [source] = read(s3_event(s3_record(versionId=version)))
        assert source.version_id is None
        assert source.name == f"documents/a.txt/{ETAG}-0055AED6DCD90281E5"


def test_several_records_are_several_documents() -> None:
    keys = [f"documents/{name}.txt" for name in "abc"]
    assert [source.key for source in read(s3_event(*map(s3_record, keys)))] == keys


def test_event_bridge_tells_the_same_and_encodes_no_keys() -> None:
    [source] = read(bridge_event("documents/a+b%20.txt"))
    assert (source.key, source.version, source.size) == ("documents/a+b%20.txt", "v1", 5)


def test_a_test_of_the_queue_is_about_no_document() -> None:
    assert read(TEST_EVENT) == []


def test_a_folder_is_no_document() -> None:
    assert read(s3_event(s3_record("documents/2026/", size=0))) == []


def test_results_of_different_versions_have_different_names_even_if_they_are_long() -> None:
    key, version = "documents/" + "ä" * 500, "a/b" * 10
    names = {read(s3_event(s3_record(key, versionId=id)))[0].name for id in (version, "v2")}
    names |= {read(s3_event(s3_record(key + "x", versionId="v2")))[0].name}
    assert len(names) == 3
    assert all(len(name.encode()) < 900 and name.count("/") == 2 for name in names)


@pytest.mark.parametrize(
    "values",
    [
        s3_event(s3_record(bucket="another")),
        s3_event(s3_record("elsewhere/a.txt")),
        s3_event(s3_record(), s3_record("a.txt")),
        s3_event(s3_record(name="ObjectRemoved:Delete")),
        s3_event(s3_record(eTag=None)),
        s3_event(s3_record(size="5")),
        {"Records": []},
        {"Records": [7]},
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": 7}]},
        {"Records": [{"eventSource": "aws:sns"}]},
        {"Records": 7},
        {"Event": "s3:Another"},
        bridge_event(detail_type="Object Deleted"),
        bridge_event("elsewhere/a.txt"),
        {**bridge_event(), "source": "aws.ec2"},
        {**bridge_event(), "detail": None},
    ],
)
def test_what_is_of_no_document_is_refused(values: Any) -> None:
    with pytest.raises(NotificationRefused):
        read(values)


def test_the_refused_bucket_is_named() -> None:
    with pytest.raises(NotificationRefused, match="'secrets', documents come from input only"):
        read(s3_event(s3_record(bucket="secrets")))


def test_without_a_bucket_that_is_allowed_there_are_no_documents() -> None:
    with pytest.raises(DocumentsUnconfigured, match="FIREBRICK_INPUT_BUCKET"):
        read_notification(s3_event(), None)


def test_a_request_is_no_notification() -> None:
    assert not is_notification({"prompt": "hi", "Records": []})
    assert not is_notification({"text": "hi"})


MEMBERS = ["Records", "Event", "detail-type", "source", "detail", "eventSource", "eventName", "s3", "object", "bucket"]
TEXTS = st.sampled_from(["aws:s3", "aws.s3", "ObjectCreated:Put", "Object Created", "documents/a", INPUT, ""])
JSON = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MEMBERS, "key", "name"]), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(MEMBERS[:5]), JSON))
def test_anything_is_read_or_refused(values: dict[str, Any]) -> None:
    with suppress(ApiError):
        read_notification(values, INPUT)
