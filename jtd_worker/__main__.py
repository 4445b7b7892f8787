"""`python -m jtd_worker` is `jtd-worker`."""

from jtd_worker.cli import main

main()
