from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.workflow.growing import Growing

CHANGES = st.lists(st.tuples(st.sampled_from(["set", "unset"]), st.integers(0, 90), st.integers()), max_size=300)


@given(CHANGES)
def test_it_holds_what_a_dict_would_and_no_earlier_state_changes(changes):
    growing, plain = Growing(), {}
    states = [(growing, {})]
    for what, number, value in changes:
        key = f"k{number}"
        growing = growing.having(key, value) if what == "set" else growing.without(key)
        plain = {**plain, key: value} if what == "set" else {name: one for name, one in plain.items() if name != key}
        states.append((growing, plain))
    for grown, expected in states:
        assert dict(grown) == expected
        assert len(grown) == len(expected)


def test_an_entry_more_copies_only_what_changed_lately():
    growing = Growing({f"k{number}": number for number in range(100_000)})
    more = growing.having("new", 1).without("k7")
    assert more._base is growing._base
    assert ("k7" in more, "k7" in growing, more["new"], more["k8"]) == (False, True, 1, 8)
