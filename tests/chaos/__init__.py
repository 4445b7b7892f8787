"""Real daemons, Postgres and providers, all of them failing by a seed, and the count of what arrived.

`python -m tests.chaos` runs every fault for minutes; test_chaos.py runs some of them for seconds.
"""
