"""What a server writes down: to standard error, without secrets, and nothing that a terminal would obey."""

from __future__ import annotations

import logging
import re
from typing import Any

#: our tokens, those of hubs and of servers like OpenAI's, what stands in headers, and names in addresses
_SECRETS = (
    (re.compile(r"\b(slm_|hf_|sk-)[A-Za-z0-9_-]{8,}"), r"\1..."),
    (re.compile(r"\b(bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), r"\1 ..."),
    (re.compile(r"(slmeval_(?:session|form)_\d+)=[^;,\s\"']+"), r"\1=..."),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@\"']+@", re.IGNORECASE), r"\1...@"),
)
#: what would move a terminal's cursor, or more
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def discreet(text: str) -> str:
    """A text without secrets; control characters stand there as what they are."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Discreet(logging.Formatter):
    """Whole lines, with what is told of errors, made :func:`discreet`."""

    def format(self, record: logging.LogRecord) -> str:
        return discreet(super().format(record))


def log_config() -> dict[str, Any]:
    """For uvicorn (and :func:`logging.config.dictConfig`): its lines and ours."""
    logger = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "discreet": {
                "()": "slmeval.service.logs.Discreet",
                "format": "%(asctime)s %(levelname)s %(message)s",
            }
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "discreet",
                "stream": "ext://sys.stderr",
            }
        },
        "loggers": {
            # the parts of uvicorn's pass theirs on to it
            "uvicorn": dict(logger),
            "slmeval": dict(logger),
            "websockets": {**logger, "level": "WARNING"},
            "asyncio": {**logger, "level": "WARNING"},
        },
    }
