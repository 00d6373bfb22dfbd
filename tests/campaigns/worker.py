"""A process that does what a campaign asks: it may crash or hang, and another takes its place."""

import multiprocessing
import os
import warnings

LIMIT = 300  # [s] against hangs only
MEMORY = 8 << 30  # [bytes] a header that announces the moon must not take the machine with it


class Worker:
    """`Worker()(work, *arguments)`: ("read", answer), ("error", type, bases, text), ("crash",) or
    ("hang",).

    `work` is a function of a module; arguments and answer are sent between processes.
    """

    process = None

    def __call__(self, work, *arguments):
        if not self.process:
            context = multiprocessing.get_context("spawn")
            self.pipe, end = context.Pipe()
            self.process = context.Process(target=_serve, args=(end,), daemon=True)
            self.process.start()
            end.close()
        try:
            self.pipe.send((work, *map(str, arguments)))
            if self.pipe.poll(LIMIT):
                return self.pipe.recv()
            outcome = ("hang",)
        except (EOFError, OSError):
            outcome = ("crash",)
        self.close()
        return outcome

    def close(self):
        """End the process."""
        if self.process:
            self.process.kill()
            self.process.join()
            self.process = None


def _serve(pipe):
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.dup2(
        os.open(os.devnull, os.O_WRONLY), 2
    )  # libraries complain of each file in their own words
    warnings.simplefilter("ignore")
    while True:
        work, *arguments = pipe.recv()
        try:
            outcome = "read", work(*arguments)
        except Exception as error:
            outcome = (
                "error",
                type(error).__name__,
                [base.__name__ for base in type(error).__mro__],
                f"{error}",
            )
        pipe.send(outcome)
