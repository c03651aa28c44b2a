from __future__ import annotations

from handler.start.environment import LIBRARIES, configure_libraries


def test_what_nobody_has_set_is_set() -> None:
    environ: dict[str, str] = {}
    configure_libraries(environ)
    assert environ == LIBRARIES


def test_what_the_operator_has_set_stays() -> None:
    environ = {"OPENBLAS_NUM_THREADS": "4"}
    configure_libraries(environ)
    assert environ["OPENBLAS_NUM_THREADS"] == "4"
