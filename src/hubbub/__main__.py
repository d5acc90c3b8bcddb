"""`python -m hubbub` is `hubbub`."""

from hubbub.cli import main

main()
