"""Keys in their order, in memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.streams.tables import memory
from trunkline.streams.tables.memory import SortedKeys

KEY = st.binary(max_size=3)
STEPS = st.lists(st.tuples(st.booleans(), KEY), max_size=60)


@settings(max_examples=200)
@given(st.sets(KEY, max_size=20), STEPS, KEY)
def test_keys_are_in_order_whatever_came_and_went(
    first: set[bytes], steps: list[tuple[bool, bytes]], prefix: bytes
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "BUCKET", 3)
        keys, model = SortedKeys(first), set(first)
        for adds, key in steps:
            (keys.add if adds else keys.discard)(key)
            (model.add if adds else model.discard)(key)
        assert keys.with_prefix(b"") == sorted(model)
        assert keys.with_prefix(prefix) == sorted(k for k in model if k.startswith(prefix))
