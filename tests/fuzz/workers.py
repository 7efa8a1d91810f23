"""Runs jobs in processes of their own: a job that brings its process down, or hangs, is a result like any other."""

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait

SECONDS = 180  # for one job


class _Worker:
    def __init__(self, main: Callable, arguments: tuple):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=main, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()
        self.job = None
        self.deadline = 0.0

    def give(self, job) -> None:
        self.job, self.deadline = job, time.monotonic() + SECONDS
        self.connection.send(job)

    def end(self) -> None:
        """Lets it tidy up."""
        self.connection.send(None)
        self.process.join(10)
        self.stop()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def serve(connection: Connection, work: Callable) -> None:
    """What a worker's main function does once it is set up: a result for each job."""
    while (job := connection.recv()) is not None:
        connection.send(work(job))


def run(main: Callable, arguments: tuple, jobs: Iterable, count: int, until: float) -> Iterator[tuple[object, object]]:
    """Gives (job, result) pairs as they come; the result is a text where the worker died. No job starts after `until`
    (time.monotonic). `main(connection, *arguments)` is to call `serve`."""
    waiting = iter(jobs)
    workers: list[_Worker] = []

    def next_job(worker: _Worker) -> bool:
        job = next(waiting, None) if time.monotonic() < until else None
        if job is None:
            worker.end()
            return False
        worker.give(job)
        return True

    for _ in range(count):
        worker = _Worker(main, arguments)
        if next_job(worker):
            workers.append(worker)
    while workers:
        ready = wait([worker.connection for worker in workers], timeout=1)
        for worker in list(workers):
            job, result = worker.job, None
            if worker.connection in ready:
                try:
                    result = worker.connection.recv()
                except EOFError:
                    worker.process.join()
                    result = f"the process ended with {worker.process.exitcode}"
            elif time.monotonic() > worker.deadline:
                result = f"no end after {SECONDS} s"
            if result is None:
                continue
            yield job, result
            if isinstance(result, str):
                worker.stop()
                workers.remove(worker)
                worker = _Worker(main, arguments)
                workers.append(worker)
            if not next_job(worker):
                workers.remove(worker)
