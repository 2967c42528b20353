"""Progress bars: live on a terminal, one line in a log."""

from __future__ import annotations

import sys

from tqdm import tqdm


class Progress(tqdm):
    """tqdm, which elsewhere than on a terminal or in a notebook says one line when it ends."""

    monitor_interval = 0  # no thread: a process of several is not forked
    _is_closing = False

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if _is_live():
            super().display(msg, pos)
        elif self._is_closing:
            count = "{n_fmt}" if self.total is None else "{n_fmt} of {total_fmt}"
            self.bar_format = f"{{desc}}: {count} {{unit}} in {{elapsed}}, {{rate_fmt}}{{postfix}}"
            self.fp.write(str(self))

    def close(self) -> None:
        self._is_closing = True
        super().close()


def _is_live() -> bool:
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
