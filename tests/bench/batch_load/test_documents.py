from __future__ import annotations

from collections import Counter

from bench.batch_load.documents import LINES, LONG_CHARACTERS, make_documents


def test_the_same_seed_makes_the_same_documents() -> None:
    assert make_documents(50, seed=3) == make_documents(50, seed=3)
    assert make_documents(50, seed=3) != make_documents(50, seed=4)


def test_they_are_of_all_kinds_and_each_has_a_name_of_its_own() -> None:
    documents = make_documents(2000)
    assert len({document.key for document in documents}) == 2000
    kinds = Counter(document.content_type for document in documents if document.refused is None)
    assert min(kinds.values()) > 50
    assert kinds[LINES] > 100
    assert sum(len(document.body) > LONG_CHARACTERS for document in documents) > 5


def test_some_cannot_be_answered_for_each_of_the_reasons() -> None:
    refused = Counter(document.refused for document in make_documents(2000))
    assert set(refused) == {
        None,
        "document_unsupported",
        "document_unreadable",
        "document_empty",
        "instruction_missing",
        "invalid_value",
    }
