"""Where the keys come from that bind the lines of the audit log."""

import base64
import binascii

from proxy.core.audit_chain import AuditKey
from proxy.core.keyset import KEY_BYTES, Keyset

_PURPOSE = "lumina audit v1"


def audit_keys(audit_key: str, encryption_key: str) -> list[AuditKey]:
    """Return the keys that lines of the audit log are bound by; the first binds.

    Args:
        audit_key: 32 bytes in URL-safe base64; "" for those of the encryption key.
        encryption_key: as ``Keyset.from_text`` reads it; every key of it has one.

    Raises:
        ValueError: a sentence that says what is wrong, and never holds a key.
    """
    if audit_key:
        try:
            padded = audit_key + "=" * (-len(audit_key) % 4)
            secret = base64.b64decode(padded, altchars=b"-_", validate=True)
        except binascii.Error:
            secret = b""
        if len(secret) != KEY_BYTES:
            raise ValueError("AUDIT_KEY is not 32 bytes in URL-safe base64")
        return [AuditKey(secret)]
    try:
        keyset = Keyset.from_text(encryption_key)
    except ValueError as error:
        raise ValueError(f"ENCRYPTION_KEY: {error}") from None
    return [AuditKey(keyset.subkey(key_id, _PURPOSE, "")) for key_id in keyset.key_ids]
