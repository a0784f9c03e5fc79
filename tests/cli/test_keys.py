"""``lumina-proxy keys``, as operators and their scripts use it, on real keystores."""

import base64
import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from proxy.cli.keys import keys
from proxy.core.ciphers import Ciphers
from proxy.core.keyring import Keyring
from proxy.core.keyset import Keyset, text_of_key
from tests.cipher_builders import FIELD, NEW, OLD, a_field, nonces
from tests.key_servers import Postgres, running

KEK = base64.urlsafe_b64encode(bytes(range(32))).decode()
OTHER = base64.urlsafe_b64encode(bytes(range(1, 33))).decode()
MAIL = "lm1.example"
POLICY = f"""\
version: 1
backends: {{lms: {{servers: ["http://127.0.0.1:9000"]}}}}
fields: {{user.email: {{mode: deterministic, shape: email, mail_domain: {MAIL}}}}}
rules: [{{id: home, match: GET /, allow: anyone}}]
"""


class Operator:
    """Somebody who types commands in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "policies").mkdir()
        (folder / "policies" / "lms.yaml").write_text(POLICY)
        self.environment = {
            "KEYSTORE": str(folder / "keys.sqlite3"),
            "KEY_ENCRYPTION_KEY": KEK,
            "POLICY": str(folder / "policies"),
        }

    def run(self, *arguments: str, typed: str | bytes | None = None) -> Result:
        """Run a command."""
        return CliRunner().invoke(
            keys, arguments, env=self.environment, input=typed, catch_exceptions=False
        )

    def says(self, *arguments: str, typed: str | bytes | None = None) -> str:
        """Run a command that does what it is told."""
        result = self.run(*arguments, typed=typed)
        assert result.exit_code == 0, result.output
        return result.stdout

    def refused(self, *arguments: str, typed: str | bytes | None = None) -> str:
        """Run a command that is refused; return the line that says why."""
        result = self.run(*arguments, typed=typed)
        assert result.exit_code == 1, result.output
        assert KEK not in result.output
        return result.stderr.strip()

    def listed(self) -> list[dict[str, Any]]:
        """Return the keys as scripts read them."""
        found: list[dict[str, Any]] = json.loads(self.says("list", "--json"))["keys"]
        return found

    def ids(self) -> list[str]:
        """Return the ids of the keys."""
        return [row["id"] for row in self.listed()]


@pytest.fixture(name="operator")
def operator_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """An operator with an empty folder."""
    for name in ("KMS_URL", "ENCRYPTION_KEY", "ENCRYPTION_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Operator(tmp_path)


def value(root: bytes) -> str:
    """Return a ciphertext under a key of ENCRYPTION_KEY."""
    ciphers = Ciphers(Keyring(Keyset([root])), "lms", {FIELD: a_field()}, nonces())
    return str(json.loads(ciphers.of("").encrypt(FIELD, '"Ada"')))


def test_a_keystore_is_made_and_listed(operator: Operator) -> None:
    """With a first key, which encrypts and which look-ups stay with."""
    made = operator.says("init")
    [row] = operator.listed()

    assert made == (
        f"made a keystore with 1 keys\nkey {row['id']} of (shared) is primary\n"
    )
    assert (row["state"], row["lookups"], row["values"]) == ("primary", True, None)
    assert row["wrapped_by"].startswith("local:")
    heading, line = operator.says("list").splitlines()
    assert heading.split()[:4] == ["KEY", "TENANT", "VERSION", "STATE"]
    assert line.split() == [f"{row['id']}*", "(shared)", "1", "primary", "0s", "0", "?"]
    assert operator.refused("init") == "there is a keystore already"


def test_keys_of_before_are_adopted(operator: Operator) -> None:
    """Their ids stay, so what is stored stays readable; a tenant's derived ones too."""
    operator.environment["ENCRYPTION_KEY"] = f"{text_of_key(NEW)},{text_of_key(OLD)}"
    operator.says("init", "--adopt", "--tenant", "", "--tenant", "north")
    shared = Keyset([NEW, OLD])

    assert [(row["tenant"], row["id"], row["state"]) for row in operator.listed()] == [
        *(
            ("", f"{key_id:08x}", state)
            for key_id, state in zip(shared.key_ids, ("primary", "active"), strict=True)
        ),
        *(
            ("north", f"{key_id:08x}", state)
            for key_id, state in zip(
                shared.derived("north").key_ids[:2], ("primary", "active"), strict=True
            )
        ),
    ]


@pytest.mark.parametrize(
    ("key", "words"),
    [("", "ENCRYPTION_KEY is not set"), ("canary", "ENCRYPTION_KEY: key 1 is not 32")],
)
def test_there_must_be_something_to_adopt(
    operator: Operator, key: str, words: str
) -> None:
    """And it must be a key."""
    operator.environment["ENCRYPTION_KEY"] = key

    assert words in operator.refused("init", "--adopt")


def test_a_whole_rotation(operator: Operator) -> None:
    """From the first step to the last, each refused before its time."""
    operator.environment["ENCRYPTION_KEY"] = text_of_key(OLD)
    operator.says("init", "--adopt", "--bound", "1h")
    [old] = operator.ids()
    said = operator.says("rotate")
    _, new = operator.ids()
    assert said.startswith(f"key {new} is pending: every replica learns of it by 2")
    assert "pending already" in operator.refused("rotate")
    assert "a replica may not know it" in operator.refused("promote", new)
    # The bound is over as soon as there is none.
    operator.says("configure", "--bound", "0s")
    assert operator.says("promote", new) == f"key {new} is primary\n"
    assert "look-ups stay with" in operator.refused("disable", old)
    operator.says("promote", new, "--lookups")
    assert "nothing decrypts under it" in operator.says("disable", old)
    assert "no census was taken" in operator.refused("destroy", old, "--yes")
    dump = f"1\t{value(OLD)}\n"
    assert operator.says("census", "-", typed=dump) == f"{old}  1 values\n"
    assert "1 values are encrypted" in operator.refused("destroy", old, "--yes")
    assert operator.says("census", "-", typed="") == "no value is encrypted\n"
    assert "--accept-uncounted" in operator.refused("destroy", old, "--yes")
    gone = operator.says("destroy", old, "--yes", "--accept-uncounted")

    assert gone == f"key {old} is destroyed\n"
    assert [row["state"] for row in operator.listed()] == ["destroyed", "primary"]


def test_a_key_is_not_destroyed_without_a_yes(operator: Operator) -> None:
    """Whoever is asked may think better of it."""
    operator.says("init")
    [key] = operator.ids()
    result = operator.run("destroy", key, typed="n\n")

    assert result.exit_code == 1
    assert "lost for ever" in result.output


def test_a_disabled_key_is_enabled_again(operator: Operator) -> None:
    """When something missed it."""
    operator.says("init", "--bound", "0s")
    operator.says("rotate")
    old, new = operator.ids()
    operator.says("promote", new)
    operator.says("promote", new, "--lookups")
    operator.says("disable", old)

    assert operator.says("enable", old) == f"key {old} is active\n"


def test_a_tenant_gets_its_first_key(operator: Operator) -> None:
    """It waits like every other, for replicas that run already have to learn of it."""
    operator.says("init")
    assert "is pending" in operator.says("rotate", "--tenant", "north")

    assert [row["tenant"] for row in operator.listed()] == ["", "north"]
    assert "`keys rotate`" in operator.refused("init", "--tenant", "north")


def test_keys_are_wrapped_anew(operator: Operator) -> None:
    """Under the key that is named first; the old one can go then."""
    operator.says("init")
    before = operator.ids()
    operator.environment["KEY_ENCRYPTION_KEY"] = f"{OTHER},{KEK}"
    said = operator.says("rewrap")
    operator.environment["KEY_ENCRYPTION_KEY"] = OTHER

    assert said.startswith("1 keys are wrapped by local:")
    assert operator.ids() == before
    operator.environment["KEY_ENCRYPTION_KEY"] = KEK
    assert "not configured" in operator.refused("list")


def test_a_census_reads_what_stores_have(operator: Operator) -> None:
    """Files of text, SQLite databases, and several sources together."""
    operator.environment["ENCRYPTION_KEY"] = text_of_key(OLD)
    operator.says("init", "--adopt")
    [key] = operator.ids()
    (operator.folder / "dump.sql").write_text(f"'{value(OLD)}', '{value(NEW)}'")
    database = operator.folder / "lms.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE users (name TEXT, note BLOB)")
        rows = [(value(OLD), b"x" * 5000 + value(OLD).encode()) for _ in range(50)]
        connection.executemany("INSERT INTO users VALUES (?, ?)", rows)
    connection.close()
    stranger = f"{Keyset([NEW]).primary:08x}"
    said = operator.says("census", "dump.sql", "lms.sqlite3")
    counted = json.loads(operator.says("census", "dump.sql", "--json", "--dry-run"))

    assert sorted(said.splitlines()) == sorted(
        [f"{key}  51 values", f"{stranger}  1 values  not a key of this keystore"]
    )
    assert counted["values"] == {key: 1, stranger: 1}
    assert operator.listed()[0]["values"] == 51
    assert operator.says("list").splitlines()[-1].endswith("dump.sql, lms.sqlite3")
    assert "nowhere: No such file" in operator.refused("census", "nowhere")


def test_a_census_reads_a_database(operator: Operator, tmp_path: Path) -> None:
    """Every table, by a connection that cannot write."""
    operator.environment["ENCRYPTION_KEY"] = text_of_key(OLD)
    operator.says("init", "--adopt")
    server = Postgres(tmp_path)
    with running(server):
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute('CREATE TABLE "Odd name" (id INT, document JSONB)')
            for n in range(40):
                connection.execute(
                    'INSERT INTO "Odd name" VALUES (%s, %s)',
                    (n, json.dumps({"name": value(OLD)})),
                )
        said = operator.says("census", server.url)

    assert said == f"{operator.ids()[0]}  40 values\n"
    assert "lumina@" not in operator.says("list")
    assert operator.refused("census", server.url) == (
        "the database cannot be read (OperationalError)"
    )


def test_a_census_needs_the_policy(operator: Operator) -> None:
    """Or it would miss ciphertexts that are addresses, and say zero."""
    operator.says("init")
    (operator.folder / "policies" / "lms.yaml").unlink()

    assert "addresses that are ciphertexts are missed" in operator.refused(
        "census", "-", typed=""
    )


@pytest.fixture(name="board")
def board_fixture(operator: Operator) -> tuple[str, str]:
    """A certificate and its private key, made as an operator would."""
    certificate, key = (str(operator.folder / f"board.{one}") for one in ("pem", "key"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "9"),
            *("-subj", "/CN=board", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_an_escrow_opens_with_openssl_and_restores(
    operator: Operator, board: tuple[str, str]
) -> None:
    """Without this program, and every key comes back with its state."""
    operator.says("init", "--bound", "0s")
    operator.says("rotate")
    operator.says("promote", operator.ids()[1])
    operator.says("rotate", "--tenant", "north")
    before = operator.listed()
    escrow = operator.folder / "keys.cms"
    said = operator.says("export", "--escrow", board[0], str(escrow))
    opened = subprocess.run(
        [
            *("openssl", "cms", "-decrypt", "-inform", "PEM", "-binary"),
            *("-in", escrow, "-inkey", board[1]),
        ],
        check=True,
        capture_output=True,
    ).stdout
    assert said == f"3 keys are in {escrow}, for CN=board\n"
    assert escrow.stat().st_mode & 0o777 == 0o600
    assert {row["id"] for row in json.loads(opened)["keys"]} == set(operator.ids())
    assert "already" in operator.refused("restore", "-", typed=opened)
    operator.environment |= {
        "KEYSTORE": str(operator.folder / "new"),
        "KEY_ENCRYPTION_KEY": OTHER,
    }
    operator.says("restore", "-", typed=opened)
    kept = ("id", "tenant", "version", "state", "lookups", "created", "since")

    assert [[row[name] for name in kept] for row in operator.listed()] == [
        [row[name] for name in kept] for row in before
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "other"}', '{"format": "lumina-escrow-1"}']
)
def test_what_is_no_escrow_is_not_restored(operator: Operator, text: str) -> None:
    """And no keystore is made of it."""
    assert "escrow" in operator.refused("restore", "-", typed=text)
    assert not Path(operator.environment["KEYSTORE"]).exists()


def test_an_escrow_is_for_a_strong_key_and_a_new_file(
    operator: Operator, board: tuple[str, str]
) -> None:
    """A file that is there is not overwritten, and no weak key is written for."""
    operator.says("init")
    weak = operator.folder / "weak.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"),
            *("-keyout", "/dev/null", "-out", str(weak)),
        ],
        check=True,
        capture_output=True,
    )

    assert "not for RSA of 3072" in operator.refused(
        "export", "--escrow", str(weak), "keys.cms"
    )
    assert "no certificate in PEM" in operator.refused(
        "export", "--escrow", board[1], "keys.cms"
    )
    assert "File exists" in operator.refused("export", "--escrow", board[0], board[1])


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"KEYSTORE": ""}, "KEYSTORE is not set"),
        ({"KEY_ENCRYPTION_KEY": ""}, "KEYSTORE needs KMS_URL"),
        ({}, "there is no keystore yet; make one with `keys init`"),
    ],
    ids=["keystore", "kek", "empty"],
)
def test_what_is_missing_is_said(
    operator: Operator, environment: dict[str, str], words: str
) -> None:
    """In one line."""
    operator.environment |= environment

    assert words in operator.refused("list")


@pytest.mark.parametrize(
    "arguments",
    [
        ("promote", "xyz"),
        ("promote", "0a1b2c3"),
        ("init", "--bound", "soon"),
        ("init", "--bound", "5"),
        ("census",),
        ("export", "keys.cms"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2(operator: Operator, arguments: tuple[str, ...]) -> None:
    """And says what was expected."""
    result = operator.run(*arguments)

    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_a_key_that_is_not_there_is_said(operator: Operator) -> None:
    """With those that are."""
    operator.says("init")

    assert f"the keys are {operator.ids()[0]}" in operator.refused("promote", "0" * 8)


@pytest.mark.parametrize(
    "command", [[], *([name] for name in keys.commands)], ids=" ".join
)
def test_help_teaches(operator: Operator, command: list[str]) -> None:
    """Each command says what it does, in sentences."""
    said = operator.says(*command, "--help")

    assert len(said.split()) > 20
