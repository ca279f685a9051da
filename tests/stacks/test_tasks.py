import logging
import os
import random
import signal
import threading
import warnings

import numpy as np
import pytest
import torch
from hydra.core.hydra_config import HydraConfig

from runlab.runs.signals import came_by_signal
from runlab.stacks.tasks import current_task, run_cooperatively


def nothing(turns, check):
    pass


def ask(request):
    current_task().wait(request)


def test_tasks_return_in_their_order_whenever_they_end():
    def task(number, questions):
        for _ in range(questions):
            ask(number)
        return number

    tasks = [lambda n=n, q=q: task(n, q) for n, q in enumerate([3, 0, 1])]
    assert run_cooperatively(tasks, nothing) == [0, 1, 2]


def test_all_that_live_are_computed_at_once_and_those_that_ended_are_not():
    asked = []

    def task(name, questions):
        for question in range(questions):
            ask(f"{name}{question}")

    def compute(turns, check):
        asked.append([turn.request for turn in turns])

    run_cooperatively(
        [lambda n=n, q=q: task(n, q) for n, q in {"a": 2, "b": 1, "c": 3}.items()], compute
    )
    assert asked == [["a0", "b0", "c0"], ["a1", "c1"], ["c2"]]


def test_only_one_task_moves_at_any_time():
    inside, seen = [], []

    def task():
        for _ in range(20):
            inside.append(threading.get_ident())
            seen.append(len(inside))
            inside.pop()
            ask("more")

    run_cooperatively([task] * 4, nothing)
    assert set(seen) == {1}


def test_a_task_that_raises_ends_and_the_others_go_on():
    def fail():
        ask("once")
        raise ValueError("no luck")

    def succeed():
        for _ in range(3):
            ask("more")
        return "done"

    error, result = run_cooperatively([fail, succeed], nothing)
    assert isinstance(error, ValueError)
    assert result == "done"


def test_a_signal_ends_every_task_and_then_the_caller():
    ended, before = [], threading.active_count()

    def task(number):
        try:
            for _ in range(5):
                ask("more")
        except SystemExit as stop:
            ended.append((number, stop.code))
            raise

    def compute(turns, check):
        signal.raise_signal(signal.SIGINT)
        ended.append("a signal waits")
        check()

    with pytest.raises(KeyboardInterrupt):
        run_cooperatively([lambda n=n: task(n) for n in range(3)], compute)
    assert ended == ["a signal waits", (0, 130), (1, 130), (2, 130)]
    assert threading.active_count() == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_schedulers_handler_raises_ends_every_task_as_a_request_to_end():
    class PreemptedError(Exception):
        pass

    def preempt(number, frame):
        raise PreemptedError

    def task():
        try:
            ask("more")
        except BaseException as error:
            ended.append((type(error), came_by_signal(error)))
            raise

    ended = []
    before = signal.signal(signal.SIGUSR2, preempt)
    try:
        with pytest.raises(PreemptedError):
            run_cooperatively(
                [task, task], lambda tasks, check: (signal.raise_signal(signal.SIGUSR2), check())
            )
        assert signal.getsignal(signal.SIGUSR2) is preempt
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert ended == [(PreemptedError, True)] * 2


def test_a_signal_that_comes_while_a_task_moves_leaves_the_rest_unstarted():
    started = []

    def task(number):
        started.append(number)
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        ask("more")

    with pytest.raises(KeyboardInterrupt):
        run_cooperatively([lambda n=n: task(n) for n in range(3)], nothing)
    assert started == [0, 1]


def test_exit_in_one_task_is_exit_in_all():
    codes = []

    def leave():
        ask("once")
        raise SystemExit("fail fast")

    def go_on():
        try:
            ask("once")
            ask("twice")
        except SystemExit as stop:
            codes.append(stop.code)
            raise

    with pytest.raises(SystemExit, match="fail fast"):
        run_cooperatively([go_on, leave, go_on], nothing)
    assert codes == ["fail fast", "fail fast"]


def draws():
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_each_task_draws_the_random_numbers_that_it_would_draw_alone():
    def task(seed):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        found = []
        for _ in range(3):
            found += draws()
            ask("more")
        return found

    def compute(turns, check):
        draws()

    alone = [run_cooperatively([lambda s=s: task(s)], nothing)[0] for s in range(3)]
    assert run_cooperatively([lambda s=s: task(s) for s in range(3)], compute) == alone


def test_what_is_global_to_the_process_is_each_tasks_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def surroundings():
        return [
            HydraConfig.instance().cfg,
            logging.root.handlers[:],
            os.environ.get("OF_A_RUN"),
            os.getcwd(),
            torch.get_default_dtype(),
            [entry[:2] for entry in warnings.filters[:1]],
        ]

    def task(number):
        (tmp_path / str(number)).mkdir()
        handler, dtype = logging.NullHandler(), [torch.float64, torch.float32][number]
        HydraConfig.instance().cfg = number
        logging.root.handlers[:] = [handler]
        os.environ["OF_A_RUN"] = str(number)
        os.chdir(tmp_path / str(number))
        torch.set_default_dtype(dtype)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=str(number))
            mine = surroundings()
            for _ in range(2):
                ask("more")
                assert surroundings() == mine
        assert mine[2] == str(number)
        return "as it was"

    before = surroundings()
    assert run_cooperatively([lambda: task(0), lambda: task(1)], nothing) == ["as it was"] * 2
    assert surroundings() == before


def test_outside_of_a_task_there_is_no_turn():
    assert current_task() is None
