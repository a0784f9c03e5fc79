"""The tables of a keystore in SQL, for SQLite and PostgreSQL alike."""

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS lumina_keystore (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        revision BIGINT NOT NULL,
        document {bytes} NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS lumina_key_use (
        key_id BIGINT PRIMARY KEY,
        used BIGINT NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS lumina_key_entry (
        kind VARCHAR(16) NOT NULL,
        name {bytes} NOT NULL,
        entry {bytes} NOT NULL,
        PRIMARY KEY (kind, name)
    )""",
)

LOAD = "SELECT document FROM lumina_keystore WHERE one = 1"
INSERT = (
    "INSERT INTO lumina_keystore (one, revision, document) VALUES (1, {p}, {p}) "
    "ON CONFLICT (one) DO NOTHING"
)
REPLACE = (
    "UPDATE lumina_keystore SET revision = {p}, document = {p} "
    "WHERE one = 1 AND revision = {p}"
)
USE = (
    "INSERT INTO lumina_key_use (key_id, used) VALUES ({p}, {p}) "
    "ON CONFLICT (key_id) DO UPDATE SET used = lumina_key_use.used + excluded.used"
)
USED = "SELECT key_id, used FROM lumina_key_use"
ENTRY = "SELECT entry FROM lumina_key_entry WHERE kind = {p} AND name = {p}"
ADD_ENTRY = (
    "INSERT INTO lumina_key_entry (kind, name, entry) VALUES ({p}, {p}, {p}) "
    "ON CONFLICT (kind, name) DO NOTHING"
)
SCAN = (
    "SELECT name, entry FROM lumina_key_entry WHERE kind = {p} AND name > {p} "
    "ORDER BY name LIMIT 500"
)
DROP_ENTRY = "DELETE FROM lumina_key_entry WHERE kind = {p} AND name = {p}"
