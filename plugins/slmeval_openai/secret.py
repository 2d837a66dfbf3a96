"""The API key: from the environment alone, sent to the server alone, shown to nobody."""

from __future__ import annotations

import os
import re
from html import escape

from slmeval.errors import JobFailed, ModelError

#: in this order
VARIABLES = ("SLMEVAL_API_KEY", "OPENAI_API_KEY")
#: what servers without keys are given ("EMPTY", "none") is shorter, and may stand in a text
_SHORTEST = 16


class Key:
    """A key, or none; it never shows in a representation."""

    def __init__(self, value: str = "", variable: str = "") -> None:
        self._value = value
        self._written = re.compile("".join(map(_ways_to_write, value)))
        #: where it is from, "" if there is none
        self.variable = variable

    def __repr__(self) -> str:
        return f"Key(from {self.variable or 'nowhere'})"

    @property
    def headers(self) -> dict[str, str]:
        """What a request carries."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def hide(self, text: str) -> str:
        """``text`` without the key, however it is escaped: what a server says may repeat it."""
        return self._written.sub("[the key]", text) if self._value else text

    def _is_in(self, text: str) -> bool:
        return len(self._value) >= _SHORTEST and self._written.search(text) is not None

    def check_address(self, text: str) -> str:
        """``text`` itself, an address or a model's name: reports show both.

        :raises ModelError: the key is in it.
        """
        if self._is_in(text):
            raise ModelError(
                f"the key in {self.variable} stands in the server's address or in the model's name, which "
                "reports show: leave it out there, for it is sent without"
            )
        return text

    def check_answer(self, text: str) -> str:
        """``text`` itself; an answer is never altered, and never stored with the key in it.

        :raises JobFailed: the key is in it.
        """
        if self._is_in(text):
            raise JobFailed("the server's answer holds the API key: it is not stored, and the key is at risk")
        return text


def _ways_to_write(letter: str) -> str:
    """A pattern of one letter as it is, and as URLs, JSON and HTML escape it."""
    code = ord(letter)
    by_number = rf"%{code:02x}|\\u{code:04x}|&#0*{code};|&#x0*{code:x};"
    return rf"(?:\\?{re.escape(letter)}|{re.escape(escape(letter))}|(?i:{by_number}))"


def key_from_environment() -> Key:
    """The key of the first variable that is set.

    :raises ModelError: it cannot be sent in a header.
    """
    variable = next((name for name in VARIABLES if os.environ.get(name, "").strip()), "")
    value = os.environ.get(variable, "").strip() if variable else ""
    if not all("!" <= letter <= "~" for letter in value):
        raise ModelError(
            f"the key in {variable} holds a space, a line end or a letter beyond ASCII: set it again"
        )
    return Key(value, variable)
