"""The documents of this repository, taken apart: prose, tables and fenced blocks.

What a document tells its reader to type stands in a ``console`` block, ready to be
pasted. A ``text`` block right behind it is what the reader will see, with ``…`` for
what differs from run to run.
"""

import dataclasses
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {".cache", ".run", ".venv", "node_modules", ".pytest_cache"}
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not NOT_OURS.intersection(path.relative_to(ROOT).parts)
)

_FENCE = re.compile(
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"# (?P<name>[\w-]+\.yaml)\n")


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a document.

    Attributes:
        where: document and line, for people.
        language: what stands behind the fence; "" for nothing.
        text: what stands between the fences.
        output: the text of a ``text`` block that follows at once; None for none.
    """

    where: str
    language: str
    text: str
    output: str | None = None

    @property
    def file(self) -> str | None:
        """The name of the file that a first line ``# NAME.yaml`` says it is."""
        named = _FILE.match(self.text)
        return named["name"] if named else None


def named(path: Path) -> str:
    """Return the path as a developer would type it."""
    return path.relative_to(ROOT).as_posix()


def text_of(name: str) -> str:
    """Return what a file of the repository says."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    text = text_of(name)
    found: list[Block] = []
    end = 0
    for fence in _FENCE.finditer(text):
        follows = found and not text[end : fence.start()].strip()
        end = fence.end()
        if follows and fence["language"] == "text" and found[-1].language == "console":
            found[-1] = dataclasses.replace(found[-1], output=fence["text"])
            continue
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(f"{name}:{line}", fence["language"], fence["text"]))
    return found


def rows(text: str) -> list[list[str]]:
    """Return the cells of every row of every table of a text, but for the headings."""
    tables = re.findall(r"(?m)^\|.*\n\|[-:| ]+\|\n((?:\|.*\n)*)", text)
    lines = "".join(tables).splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def matches(told: str, seen: str) -> bool:
    """Say whether an output is what a document told, ``…`` being anything at all."""
    parts = (re.escape(part) for part in told.strip().split("…"))
    return re.fullmatch(".*?".join(parts), seen.strip(), re.DOTALL) is not None
