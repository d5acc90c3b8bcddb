"""`hubbub` as the tests start it: it hashes passwords with the least that argon2 takes.

At argon2id's default cost the demo's accounts and the first login take more than a second of processor time, and most
tests start a server of their own.  What a password costs elsewhere is tested in tests/unit/test_sqlite.py.
"""

import functools

import argon2

from hubbub.__main__ import main

if __name__ == "__main__":
    argon2.PasswordHasher = functools.partial(  # type: ignore[assignment, misc]
        argon2.PasswordHasher, time_cost=1, memory_cost=8, parallelism=1
    )
    main()
