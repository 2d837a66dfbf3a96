"""``python -m slmeval``: the command line."""

from slmeval.cli import main

main()
