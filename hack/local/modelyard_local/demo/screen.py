"""Shows progress: phases with elapsed time, and one live line for the current phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_SECONDS = 15.0
"""Without a terminal a changed line is printed at most this often."""


class Screen:
    """Prints phases. On a terminal the current line is redrawn; elsewhere it is a plain log."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.seconds: dict[str, float] = {}
        """Elapsed seconds of each finished phase."""
        self._started = time.monotonic()
        self._live: Live | None = None
        self._name = ""
        self._phase_start = 0.0
        self._text = ""
        self._printed = ("", 0.0)
        self._lock = Lock()

    def _clock(self, since: float) -> str:
        minutes, seconds = divmod(int(time.monotonic() - since), 60)
        return f"{minutes:02}:{seconds:02}"

    def say(self, text: str = "") -> None:
        """Print a line that stays."""
        self.console.print(text, soft_wrap=True)

    def live(self, text: str) -> None:
        """Set the live line: what is going on right now."""
        with self._lock:
            self._text = text
            if self._live is not None:
                return
            last, at = self._printed
            if text != last and time.monotonic() - at >= PLAIN_SECONDS:
                self.console.print(f"   {self._clock(self._phase_start)}  {text}", soft_wrap=True)
                self._printed = (text, time.monotonic())

    def _render(self) -> Text:
        clock = self._clock(self._phase_start)
        return Text(f" ▸ {self._name}  {clock}  {self._text}", overflow="ellipsis", no_wrap=True)

    @contextmanager
    def phase(self, key: str, title: str) -> Iterator[Callable[[str], None]]:
        """A phase of the demo; yields the function for its live line. Its seconds are kept under
        `key` also when it fails."""
        self._name, self._text, self._phase_start = title, "", time.monotonic()
        self._printed = ("", time.monotonic() - PLAIN_SECONDS + 2)
        good = False
        try:
            if self.console.is_terminal:
                with Live(
                    console=self.console,
                    get_renderable=self._render,
                    refresh_per_second=4,
                    transient=True,
                ) as shown:
                    self._live = shown
                    yield self.live
            else:
                self.say(f" ▸ {title}")
                yield self.live
            good = True
        finally:
            self._live = None
            self.seconds[key] = round(time.monotonic() - self._phase_start, 1)
            mark = "[green]✓[/green]" if good else "[red]✗[/red]"
            took, total = f"{self.seconds[key]:.1f} s", self._clock(self._started)
            self.say(f" {mark} {title}  [dim]{took}, {total} since start[/dim]")


def bar(percent: float, width: int = 24) -> str:
    """A progress bar of characters, 0 to 100 percent."""
    filled = round(width * min(max(percent, 0), 100) / 100)
    return "━" * filled + "╌" * (width - filled)
