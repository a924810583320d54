"""Workers that wait for rows to predict: the process that wants answers talks to the first of them over a connection.

The driver listens, the first worker connects, and tells the others what it is asked. When workers are lost, those that
are left read the folder anew and go on; a question that was under way is asked again.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import Any

from slide.distributed.prediction.part import LAST, Part
from slide.distributed.training.answers import Found
from slide.distributed.transport.group import PeerLost
from slide.distributed.transport.messages import tell
from slide.engine.protocol import Examples

BEAT = 5.0  # seconds after which workers that nobody asks hear of each other
END = "end"
ENDED = "the workers have ended: load the model again"


@dataclass(frozen=True)
class Question:
    """Rows whose best labels are wanted."""

    rows: Examples
    k: int
    ranks: str | None


@dataclass
class Answering:
    """The work of one worker, until the driver says that it is over."""

    folder: str
    address: tuple[str, int]
    key: bytes = field(repr=False)
    n_threads: int = 1

    def __call__(self, member: Any) -> None:
        """member : slide.distributed.transport.member.Member"""
        lost, asked = False, _Asked(self)
        with contextlib.closing(asked):
            while True:
                try:
                    if lost:
                        member.regroup(lost=True)
                        lost = False
                    if self._answer(member, asked):
                        return
                except PeerLost:
                    lost = True

    def _answer(self, member: Any, asked: _Asked) -> bool:
        """Answers with the group as it is; whether all is over, else the group has changed."""
        group = member.group
        part = Part(self.folder, group, getattr(member, "threads", None) or self.n_threads)
        while True:
            question = tell(group, asked.next() if group.rank == 0 else None)
            if question == END:
                return True
            if question is not None:
                found = part.best(question.rows, question.k, question.ranks)
                if group.rank == 0:
                    asked.answer(found)
            change = member.wants_change()
            if change.driver_lost:
                return True
            if change:
                member.regroup()
                return False


class _Asked:
    """The first worker's end of the connection, made when it is first needed."""

    def __init__(self, work: Answering) -> None:
        self._work = work
        self._connection: Connection | None = None
        self._waiting: Any = None  # a question that has no answer yet

    def next(self) -> Any:
        """The question, END, or None where nobody asked for a while."""
        if self._connection is None:
            try:
                self._connection = Client(self._work.address, authkey=self._work.key)
            except OSError:  # the driver has gone
                return END
        if self._waiting is None:
            try:
                self._waiting = self._connection.recv() if self._connection.poll(BEAT) else None
            except (EOFError, OSError):
                return END
        return self._waiting

    def answer(self, found: Found) -> None:
        """Of the last question."""
        self._waiting = None
        assert self._connection is not None
        with contextlib.suppress(OSError):  # next() says that the driver has gone
            self._connection.send(found)

    def close(self) -> None:
        """So that the driver hears of it."""
        if self._connection is not None:
            self._connection.close()


class Session:
    """The driver's end: the workers run until it is closed.

    One thread talks to the first worker. Who waits for an answer and is interrupted leaves it to that thread, so that
    the next question gets its own answer.
    """

    def __init__(self, run: Callable[[Any], Any], folder: str, host: str, n_threads: int) -> None:
        """run : of an engine, which calls work(member) at every worker. host : where this process listens"""
        self._key = key = secrets.token_bytes(32)
        self._listener = Listener((host, 0), backlog=16)
        self._closed = False
        self._connections: queue.Queue[Connection] = queue.Queue()
        self._questions: queue.Queue[tuple[Question, Future[Found]] | None] = queue.Queue()
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._ended: BaseException | None = None
        address: Any = self._listener.address
        work = Answering(folder, address, key, n_threads)
        self._runner = threading.Thread(target=self._run, args=(run, work), name="slide-prediction", daemon=True)
        self._runner.start()
        for part in (self._accept, self._talk):
            threading.Thread(target=part, name=f"slide-prediction{part.__name__}", daemon=True).start()

    def ask(self, rows: Examples, k: int, ranks: str | None = LAST) -> Found:
        """The best labels of rows; see Part.best. What a worker raised is raised here."""
        if self._closed:
            raise RuntimeError(ENDED)
        answer: Future[Found] = Future()
        self._questions.put((Question(rows, k, ranks), answer))
        return answer.result()

    def _talk(self) -> None:
        while asked := self._questions.get():
            question, answer = asked
            try:
                answer.set_result(self._answer_of(question))
            except Exception as error:
                answer.set_exception(error)

    def _answer_of(self, question: Question) -> Found:
        with self._lock:
            while True:
                connection = self._connected()
                try:
                    connection.send(question)
                    found: Found = connection.recv()
                    return found
                except (EOFError, OSError):  # the first worker was lost; another one will connect
                    self._connection = None

    def close(self) -> None:
        """Lets the workers end, and waits for them."""
        with self._lock:
            if self._runner.is_alive():
                with contextlib.suppress(OSError):
                    self._connected().send(END)
                self._runner.join()
            self._stop_listening()

    def hang_up(self) -> None:
        """Lets the workers end, without waiting; nobody asks any more."""
        self._stop_listening()
        if self._connection is not None:
            self._connection.close()

    def _stop_listening(self) -> None:
        self._closed = True
        self._questions.put(None)
        with contextlib.suppress(OSError):
            self._listener.close()

    def _connected(self) -> Connection:
        while self._connection is None:
            try:
                self._connection = self._connections.get(timeout=0.1)
            except queue.Empty:
                if not self._runner.is_alive():
                    raise self._ended or RuntimeError(ENDED) from None
        return self._connection

    def _run(self, run: Callable[[Any], Any], work: Answering) -> None:
        try:
            run(work)
        except BaseException as error:
            self._ended = error

    def _accept(self) -> None:
        """Each who connects has a thread, so that one who says nothing holds up nobody."""
        while not self._closed:
            try:
                connection = self._listener.accept()
            except OSError:  # closed, or no more files can be open
                time.sleep(0.1)
                continue
            threading.Thread(target=self._welcome, args=(connection,), daemon=True).start()

    def _welcome(self, connection: Connection) -> None:
        """A worker, if it has the key."""
        try:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
        except (AuthenticationError, EOFError, OSError):
            connection.close()
        else:
            self._connections.put(connection)
