"""Conditions in CEL, the Common Expression Language, compiled and type-checked once.

Rules of this file:

1. What an expression may name is declared with its type, and nothing else is there. A
   parameter of the path is a variable of its own (``path.id``), so that one which the
   rule does not have is found at load and not by a request.
2. A condition is true or false. One that may be anything is refused at load, one that
   turns out to be neither at run time does not hold.
3. Constants that only fail when they are used, regular expressions and time zones, are
   tried at load.

The language is cel.dev's and its implementation Google's (cel-cpp): expressions have no
loops but over their own values, regular expressions are RE2's, and both end in linear
time.
"""

import dataclasses
import functools
import re
from collections.abc import Collection, Mapping

from cel_expr_python import cel

MAX_LENGTH = 4096
"""The longest condition, in characters."""

_TYPES = {
    "method": cel.Type.STRING,
    "client": cel.Type.STRING,
    "headers": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    "now": cel.Type.TIMESTAMP,
}
_TYPES_OF_TOKENS = {
    "claims": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    "role": cel.Type.STRING,
}
PATH = "path."
"""How the variable of a parameter of the path begins."""

_UNDECIDED = {
    "NOT_FOUND": "It asks for something that is not there.",
    "OUT_OF_RANGE": "A number is too large.",
}
_NO_MEANING = "A value is of another type than it asks for."
"""Why a condition is undecided, by the language's code."""

_MISTAKE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_OF_THE_LANGUAGE = (
    (re.compile(r" \(in container ''\)| \[INVALID_ARGUMENT\]$"), ""),
    (
        re.compile(r"found no matching overload for '_?(.+?)_?' applied to '(.*)'"),
        r"\1 is not for \2",
    ),
)
"""What a compiler says to those who know it, and what people get to read."""

_LITERAL = r"""(r?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))"""
_TRIED = (
    (re.compile(rf"\.matches\(\s*{_LITERAL}\s*\)"), "''.matches({})"),
    (re.compile(rf"\.get[A-Za-z]+\(\s*{_LITERAL}\s*\)"), "timestamp(0).getHours({})"),
)
"""Calls with a constant that only they look at, and how to try it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong with an expression, and where; both counted from 1."""

    line: int
    column: int
    message: str


class ConditionError(ValueError):
    """An expression is no condition.

    Args:
        mistakes: everything that is wrong with it; never empty.
    """

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("; ".join(one.message for one in mistakes))
        self.mistakes = mistakes


class UndecidedError(Exception):
    """A condition is neither true nor false for these values.

    The message is a sentence of ours: the language's own may quote a value.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """An expression that is true or false.

    Attributes:
        text: as written.
        names: of ``known_variables``, those that it may ask for.
    """

    text: str
    names: frozenset[str] = dataclasses.field(compare=False)
    _expression: cel.Expression = dataclasses.field(compare=False, repr=False)

    @classmethod
    def compile(
        cls, text: str, params: Collection[str] = (), *, token: bool
    ) -> "Condition":
        """Compile ``text``.

        Args:
            text: the expression.
            params: the names of the path's parameters.
            token: whether there is a token, and so claims and a role.

        Raises:
            ConditionError: it is none; says where.
        """
        if len(text) > MAX_LENGTH:
            message = f"a condition has {MAX_LENGTH} characters at most"
            raise ConditionError((Mistake(line=1, column=1, message=message),))
        return _compiled(text, tuple(params), token)

    def holds(self, values: Mapping[str, object]) -> bool:
        """Say whether the condition is true.

        Args:
            values: a value for each of ``names``.

        Raises:
            UndecidedError: it is neither true nor false.
        """
        try:
            result = self._expression.eval(data=values).value()
        except Exception as error:
            # What the binding makes of values that no language has, such as half of a
            # surrogate pair; its words say nothing about the expression.
            raise UndecidedError(_NO_MEANING) from error
        if isinstance(result, bool):
            return result
        code = str(result).partition(":")[0]
        raise UndecidedError(_UNDECIDED.get(code, _NO_MEANING))


def known_variables(params: Collection[str], *, token: bool) -> Mapping[str, object]:
    """Return the variables that a condition may name, with their types."""
    types = {**_TYPES, **(_TYPES_OF_TOKENS if token else {})}
    return types | {PATH + name: cel.Type.STRING for name in params}


@functools.lru_cache(maxsize=256)
def _environment(params: tuple[str, ...], token: bool) -> cel.Env:
    return cel.NewEnv(variables=known_variables(params, token=token))


@functools.lru_cache(maxsize=1024)
def _compiled(text: str, params: tuple[str, ...], token: bool) -> Condition:
    environment = _environment(params, token)
    try:
        expression = environment.compile(text)
    except RuntimeError as error:
        raise ConditionError(_mistakes(str(error))) from None
    mistakes = tuple(_mistakes_of_constants(environment, text))
    if expression.return_type() != cel.Type.BOOL:
        message = "a condition is true or false, and this may be something else"
        mistakes = (Mistake(line=1, column=1, message=message), *mistakes)
    if mistakes:
        raise ConditionError(mistakes)
    # A name that is not in the text is not in the expression; the other way round it
    # may be in a string, which costs a look-up.
    names = known_variables(params, token=token)
    return Condition(text, frozenset(one for one in names if one in text), expression)


def _mistakes(message: str) -> tuple[Mistake, ...]:
    """Return what a compiler's message says."""
    found = tuple(
        Mistake(
            line=int(line),
            column=int(column),
            message=_translated(what),
        )
        for line, column, what in _MISTAKE.findall(message)
    )
    return found or (Mistake(line=1, column=1, message=_told(message)),)


def _mistakes_of_constants(environment: cel.Env, text: str) -> list[Mistake]:
    mistakes = []
    for pattern, call in _TRIED:
        for match in pattern.finditer(text):
            tried = environment.compile(call.format(match[1])).eval(data={}).value()
            if not isinstance(tried, str):
                continue
            line = text.count("\n", 0, match.start(1)) + 1
            column = match.start(1) - (text.rfind("\n", 0, match.start(1)) + 1) + 1
            mistakes.append(Mistake(line=line, column=column, message=_told(tried)))
    return mistakes


def _translated(message: str) -> str:
    for pattern, words in _OF_THE_LANGUAGE:
        message = pattern.sub(words, message)
    return message


def _told(message: str) -> str:
    """Return what a message says, without its code."""
    return re.sub(r"^[A-Z_]+: ", "", message.partition("\n")[0])
