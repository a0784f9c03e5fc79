"""``python -m tests.impatient_supervisor``: ``lumina-proxy serve`` with short patience.

The same program with smaller numbers, so that a test need not wait for half a minute
until a worker that hangs is replaced.
"""

from proxy import crew, supervisor
from proxy.__main__ import main

if __name__ == "__main__":
    vars(crew).update(_SILENCE=1.5, ANSWERING=0.5)
    vars(supervisor).update(_PATIENCE=0.5, ANSWERING=0.5)
    main(["serve"])
