"""Ctrl-C and SIGTERM during a fit with a checkpoint: they wait until nothing is half done and its state is saved."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAID = b"\nstopping: the state of the training is saved first; once more stops at once\n"


class Interrupts:
    """Holds back a signal until `deliver` is called, or the context ends; a second one counts at once.

    What the signal did before it does then: Ctrl-C raises KeyboardInterrupt, SIGTERM ends the process. Signals that are
    ignored stay so. Only the main thread may say what signals do; in others nothing is held back.

    received : the number of a signal that is held back, 0 for none
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):  # None: set by what is not Python
                    self._before[number] = before
                    signal.signal(number, self._hold)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()
        if error[0] is None:
            self._raise()

    def deliver(self) -> None:
        """Lets a signal that was held back do what it did before; returns if that ends neither fit nor process."""
        if self.received:
            self._restore()
            self._raise()
            self.__enter__()

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            self._restore()
            self._raise()
        self.received = number
        os.write(2, SAID)  # not print: the signal may have come in the middle of one

    def _raise(self) -> None:
        number, self.received = self.received, 0
        if number:
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
