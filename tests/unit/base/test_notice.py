from __future__ import annotations

from amqpd.base.notice import INFO, WARNING, Notice


def test_a_notice_is_a_line_and_how_much_it_matters() -> None:
    notice = Notice(WARNING, "low on disk")
    assert (notice.level, notice.text) == (WARNING, "low on disk")
    assert notice.level > INFO
