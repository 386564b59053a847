from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eas.model import QueuedAttempt
from eas.queues.delayed import DelayedMessages


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 100)), max_size=60), st.floats(0, 100))
def test_what_is_due_comes_out_once_in_order(items: list[tuple[int, float]], now: float) -> None:
    delayed = DelayedMessages()
    first: dict[int, float] = {}
    for attempt_id, due in items:
        first.setdefault(attempt_id, due)
        delayed.add(QueuedAttempt(attempt_id, "null", 0, due))
    assert len(delayed) == len(first)
    taken = delayed.take_due(now)
    assert [each.available_at for each in taken] == sorted(due for due in first.values() if due <= now)
    later = sorted(due for due in first.values() if due > now)
    assert delayed.next_due() == (later[0] if later else None)
    assert all(each.attempt_id not in delayed for each in taken)


def test_it_can_come_again_after_it_was_taken() -> None:
    delayed = DelayedMessages()
    message = QueuedAttempt(1, "null", 0, 5.0)
    delayed.add(message)
    assert delayed.take_due(5.0) == [message]
    delayed.add(message)
    assert delayed.take_due(4.9) == []
    assert 1 in delayed
