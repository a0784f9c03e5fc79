"""One suite for every key-encryption key, against OpenBao and moto's KMS."""

import base64
from collections.abc import AsyncIterator, Mapping

import pytest

from proxy.core.key_records import KeystoreError, WrappedKey
from proxy.edge.keystore.configured import open_keks
from proxy.edge.keystore.local_kek import LocalKek
from proxy.edge.keystore.ports import KekRing, KeysUnavailableError
from tests.key_servers import AwsKms, Transit
from tests.ports import free_port

KEK = base64.urlsafe_b64encode(bytes(range(32))).decode()
OTHER = base64.urlsafe_b64encode(bytes(range(1, 33))).decode()
ROOTS = [bytes([n]) * 32 for n in range(30)]
ALLOWED = """
path "transit/encrypt/lms" { capabilities = ["update"] }
path "transit/decrypt/lms" { capabilities = ["update"] }
"""
NAMES = {
    "local": "local:",
    "transit": "transit:transit/lms",
    "aws": "aws-kms:eu-central-1/",
}


def transit_variables(transit: Transit) -> dict[str, str]:
    """Return what names OpenBao's key, with a token that may use it only."""
    return {
        "KMS_URL": f"vault+{transit.url}/transit/lms",
        "VAULT_TOKEN": transit.token_for(ALLOWED),
    }


def aws_variables(kms: AwsKms) -> dict[str, str]:
    """Return what names a new key of the KMS."""
    return {
        "KMS_URL": f"aws-kms://eu-central-1/{kms.new_key()}",
        "AWS_ENDPOINT_URL_KMS": f"{kms.url}/",
        "AWS_ACCESS_KEY_ID": "access",
        "AWS_SECRET_ACCESS_KEY": "canary-secret",
        "AWS_SESSION_TOKEN": "session",
    }


@pytest.fixture(name="variables", params=NAMES)
def variables_fixture(request: pytest.FixtureRequest) -> dict[str, str]:
    """What names a key of each kind."""
    if request.param == "transit":
        return transit_variables(request.getfixturevalue("transit"))
    if request.param == "aws":
        return aws_variables(request.getfixturevalue("kms"))
    return {"KEY_ENCRYPTION_KEY": KEK}


@pytest.fixture(name="ring")
async def ring_fixture(variables: dict[str, str]) -> AsyncIterator[KekRing]:
    """A ring of that key."""
    ring = open_keks(variables)
    yield ring
    await ring.close()


async def test_keys_come_back(ring: KekRing) -> None:
    """Many at once, each in its place, and wrapped they are something else."""
    keys = [(root, b"context %d" % n) for n, root in enumerate(ROOTS)]
    wrapped = await ring.wrap(keys)
    bound = [(one, context) for one, (_, context) in zip(wrapped, keys, strict=True)]

    assert await ring.unwrap(bound) == ROOTS
    assert all(ring.knows(one) for one in wrapped)
    assert {one.kek for one in wrapped} == {ring.name}
    assert ring.name.startswith(tuple(NAMES.values()))
    assert not any(root in one.data for one in wrapped for root in ROOTS)
    assert await ring.wrap([]) == []
    assert await ring.unwrap([]) == []


async def test_a_key_stays_in_its_place(ring: KekRing) -> None:
    """With another context it does not open."""
    [wrapped] = await ring.wrap([(ROOTS[1], b"here")])
    with pytest.raises(KeystoreError, match="does not open under"):
        await ring.unwrap([(wrapped, b"there")])


async def test_another_key_does_not_open_it(ring: KekRing) -> None:
    """Nor does what was changed."""
    [wrapped] = await ring.wrap([(ROOTS[1], b"here")])
    changed = WrappedKey(kek=wrapped.kek, data=wrapped.data[:-8] + b"AAAAAAA=")
    with pytest.raises((KeystoreError, KeysUnavailableError)):
        await ring.unwrap([(changed, b"here")])


async def test_a_ring_opens_what_each_of_its_keys_wrapped(ring: KekRing) -> None:
    """While keys are wrapped anew, both are known; the first wraps."""
    old = LocalKek(OTHER)
    [wrapped] = await KekRing([old]).wrap([(ROOTS[1], b"here")])
    both = KekRing([*ring._keks.values(), old])
    [anew] = await both.wrap([(ROOTS[2], b"there")])

    assert await both.unwrap([(wrapped, b"here"), (anew, b"there")]) == ROOTS[1:3]
    assert anew.kek == ring.name
    with pytest.raises(KeysUnavailableError, match=f"{old.name}, which is not config"):
        await ring.unwrap([(wrapped, b"here")])


def services(transit: Transit, kms: AwsKms) -> dict[str, Mapping[str, str]]:
    """Return settings with which nothing can be wrapped, by what is wrong."""
    nobody = f"127.0.0.1:{free_port()}"
    vault, aws = transit_variables(transit), aws_variables(kms)
    return {
        "transit:transit/lms does not answer": {
            **vault,
            "KMS_URL": f"vault+http://{nobody}/transit/lms",
        },
        "transit:transit/lms answered 403 to encrypt": {**vault, "VAULT_TOKEN": "no"},
        "transit:transit/other answered 403 to encrypt": {
            **vault,
            "KMS_URL": f"vault+{transit.url}/other",
        },
        "does not answer": {**aws, "AWS_ENDPOINT_URL_KMS": f"http://{nobody}/"},
        "answered NotFoundException to Encrypt": {
            **aws,
            "KMS_URL": "aws-kms://eu-central-1/alias/nothing",
        },
    }


async def test_what_is_not_to_be_had_is_said(transit: Transit, kms: AwsKms) -> None:
    """With the name of the key and what was answered; no token, no credential."""
    for words, variables in services(transit, kms).items():
        ring = open_keks(variables)
        with pytest.raises(KeysUnavailableError, match=words) as caught:
            await ring.wrap([(ROOTS[1], b"here")])
        await ring.close()
        shown = f"{caught.value} {ring._first!r}"

        assert "canary" not in shown
        assert variables.get("VAULT_TOKEN", "-") not in (shown, "")


async def test_a_revoked_token_opens_nothing(transit: Transit) -> None:
    """Whoever takes the service's leave back stops what depends on it."""
    variables = transit_variables(transit)
    ring = open_keks(variables)
    [wrapped] = await ring.wrap([(ROOTS[1], b"here")])
    transit.ask("auth/token/revoke", {"token": variables["VAULT_TOKEN"]})
    with pytest.raises(KeysUnavailableError, match="answered 403 to decrypt"):
        await ring.unwrap([(wrapped, b"here")])
    await ring.close()


async def test_a_token_is_asked_for_every_time(transit: Transit) -> None:
    """One that was renewed is used without a restart."""
    variables = transit_variables(transit)
    good = variables["VAULT_TOKEN"]
    variables["VAULT_TOKEN"] = "expired"
    ring = open_keks(variables)
    with pytest.raises(KeysUnavailableError):
        await ring.wrap([(ROOTS[1], b"here")])
    variables["VAULT_TOKEN"] = good

    assert len(await ring.wrap([(ROOTS[1], b"here")])) == 1
    await ring.close()


async def test_a_rotated_transit_key_opens_what_it_wrapped(transit: Transit) -> None:
    """Versions are the service's own affair."""
    ring = open_keks(transit_variables(transit))
    [before] = await ring.wrap([(ROOTS[1], b"here")])
    transit.ask("transit/keys/lms/rotate", {})
    [after] = await ring.wrap([(ROOTS[1], b"here")])

    assert await ring.unwrap([(before, b"here"), (after, b"here")]) == [ROOTS[1]] * 2
    assert after.data.startswith(b"vault:v")
    await ring.close()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "KEYSTORE needs KMS_URL, or KEY_ENCRYPTION_KEY"),
        ({"KEY_ENCRYPTION_KEY": "canary"}, "KEY_ENCRYPTION_KEY: key 1 is not 32 byt"),
        ({"KEY_ENCRYPTION_KEY": f"{KEK},canary"}, "KEY_ENCRYPTION_KEY: key 2 is not"),
        ({"KMS_URL": "https://canary@x"}, "KMS_URL is not vault\\+https"),
    ],
    ids=["none", "malformed", "second", "url"],
)
def test_settings_that_name_no_key_are_explained(
    variables: Mapping[str, str], words: str
) -> None:
    """With the variable, and never with what is in it."""
    with pytest.raises(KeystoreError, match=words) as caught:
        open_keks(variables)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("vault+https://bao:8200/transit/lms", "transit:transit/lms"),
        ("vault+http://bao/deep/mount/lms", "transit:deep/mount/lms"),
        ("vault+http://bao/lms", "transit:transit/lms"),
        ("aws-kms://eu-west-1/alias/lms", "aws-kms:eu-west-1/alias/lms"),
        (
            "aws-kms://eu-west-1/arn:aws:kms:eu-west-1:1:key/2",
            "aws-kms:eu-west-1/arn:aws:kms:eu-west-1:1:key/2",
        ),
    ],
)
def test_a_url_names_a_key(url: str, name: str) -> None:
    """Of either service; several are separated by spaces, the first one wraps."""
    ring = open_keks({"KMS_URL": f"{url} vault+http://bao/other"})

    assert ring.name == name
    assert ring.knows(WrappedKey(kek="transit:transit/other", data=b""))
