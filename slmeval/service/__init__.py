"""The service: runs submitted over HTTP, carried out by devices, watched and compared on pages.

Two halves that meet in :mod:`slmeval.service.wire` alone: the server, over the same store as the command
line, and :mod:`slmeval.service.device`, which works for a server and needs no web framework.
"""
