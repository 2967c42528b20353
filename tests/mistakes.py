"""What a user's mistake must look like."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from s2robot.core.errors import UserError


def refusal(action: Callable[[], object]) -> str:
    """The one line of the UserError that an action must raise."""
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)
