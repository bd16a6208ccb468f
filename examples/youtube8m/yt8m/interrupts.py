"""Ctrl-C and SIGTERM, noted so that a program can stop in good order."""

import signal
import threading


class Interrupts:
    """A context in which the first SIGINT or SIGTERM is noted as `number`, and only the second acts as it did before.

    In other threads than the main one, which get no signals, it does nothing. What was ignored before stays so, as
    SIGINT is in a shell's background.
    """

    def __init__(self):
        self.number = None
        self._previous = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *unused):
        while self._previous:
            number, previous = self._previous.popitem()
            signal.signal(number, signal.SIG_DFL if previous is None else previous)

    def _note(self, number, frame):
        self.number = number
        self.__exit__()
