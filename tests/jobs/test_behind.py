"""Proves that what is made is used up in order, one at a time, while the next is made, and that errors are heard."""

from __future__ import annotations

import threading
import time

import pytest

from lamina.jobs.behind import Behind


def test_all_is_used_up_in_order_when_it_is_left() -> None:
    used: list[int] = []
    with Behind(used.append) as behind:
        for number in range(50):
            behind.put(number)
    assert used == list(range(50))


def test_one_is_used_while_the_next_is_made_and_no_more_are_held() -> None:
    begun, go_on = threading.Event(), threading.Event()
    held = 0

    def use(_: int) -> None:
        begun.set()
        assert go_on.wait(10)

    def put_three() -> None:
        nonlocal held
        with Behind(use) as behind:
            for number in range(3):
                behind.put(number)
                held += 1

    thread = threading.Thread(target=put_three)
    thread.start()
    assert begun.wait(10)
    time.sleep(0.05)
    assert held == 1  # the second waits until the first is used up
    go_on.set()
    thread.join(10)
    assert held == 3


def test_an_error_is_raised_by_the_next_put_and_nothing_is_used_after_it() -> None:
    used: list[int] = []

    def use(number: int) -> None:
        used.append(number)
        if number == 1:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), Behind(use) as behind:  # noqa: PT012
        for number in range(50):
            behind.put(number)
    assert used == [0, 1]


def test_the_error_of_the_last_is_raised_at_the_end() -> None:
    def use(_: int) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), Behind(use) as behind:
        behind.put(1)


def test_an_interrupt_while_it_waits_for_the_last_is_raised_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    join, joins = threading.Thread.join, []

    def use(number: int) -> None:
        time.sleep(0.05)
        used.append(number)

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        joins.append(thread)
        if len(joins) == 1:
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt), Behind(use) as behind:
        behind.put(1)
    assert used == [1]


def test_left_by_an_error_it_finishes_what_it_has_begun() -> None:
    used: list[int] = []

    def use(number: int) -> None:
        time.sleep(0.05)
        used.append(number)

    with pytest.raises(KeyboardInterrupt), Behind(use) as behind:  # noqa: PT012
        behind.put(1)
        raise KeyboardInterrupt
    assert used == [1]
    assert not [thread for thread in threading.enumerate() if thread.name == "lamina-behind"]
