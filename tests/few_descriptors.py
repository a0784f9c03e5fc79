"""``python -m tests.few_descriptors N``: ``lumina-proxy serve`` with N descriptors."""

import resource
import sys

from proxy.__main__ import main

if __name__ == "__main__":
    most = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    main(["serve"])
