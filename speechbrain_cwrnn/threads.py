"""Threads for loops that numba compiles, as many as PyTorch has.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from concurrent.futures import ThreadPoolExecutor

import torch

# Below so many multiplications, starting threads takes longer than they save.
WORTH = 2_000_000
# Sequences that a product takes together; a thread has a multiple of these.
ROWS = 4


def count_threads(multiplications):
    """How many threads are worth to be started."""
    return 1 if multiplications < WORTH else torch.get_num_threads()


def split(R, B, threads, multiple=1):
    """Replica, first sequence and end of each chunk: one for each thread, of a
    multiple of so many sequences, but the last."""
    size = max(1, -(-B // (threads * multiple))) * multiple
    return [
        (r, b, min(b + size, B)) for r in range(R) for b in range(0, B, size)
    ]


def run_all(function, chunks, threads):
    """Call a function, which lets other threads run meanwhile, with each
    chunk."""
    if threads == 1 or len(chunks) < 2:
        for chunk in chunks:
            function(chunk)
    else:
        with ThreadPoolExecutor(min(threads, len(chunks))) as pool:
            # What has no result, but may have failed.
            list(pool.map(function, chunks))
