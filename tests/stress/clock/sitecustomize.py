"""On PYTHONPATH: the wall clock of a process and of its children jumps back by a day after some seconds."""

import time

_AFTER, _BY = 5.0, -86_400.0  # s
_time, _time_ns, _started = time.time, time.time_ns, time.monotonic()


def _jump() -> float:
    return _BY if time.monotonic() - _started > _AFTER else 0.0


time.time = lambda: _time() + _jump()
time.time_ns = lambda: _time_ns() + int(_jump() * 1e9)
