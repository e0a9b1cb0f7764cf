"""Forks of a process that has torch loaded: one by one, or several that do one run together as torchrun would start them."""

import multiprocessing
import os
import socket
import sys

import torch._dynamo  # noqa: F401  a second or three, which torch's optimizers need and forks then need not spend again

FORK = multiprocessing.get_context("fork")


def start_ranks(target, *arguments, num=2):
    """Start `target(*arguments)` in as many processes as torchrun would, with its variables set."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def be_rank(number):
        torch.set_num_threads(1)
        names = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": num, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()})
        sys.exit(target(*arguments))

    processes = [FORK.Process(target=be_rank, args=(number,)) for number in range(num)]
    for process in processes:
        process.start()
    return processes


def codes(processes):
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]
