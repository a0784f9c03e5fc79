"""Where frames end, and what a Close frame looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.websocket import FrameCursor, close_frame


def frame(opcode: int, payload: bytes, mask: bytes = b"") -> bytes:
    """Return a frame as RFC 6455 section 5.2 draws it."""
    size, bit = len(payload), 0x80 if mask else 0
    if size < 126:
        length = bytes((bit | size,))
    elif size < 1 << 16:
        length = bytes((bit | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((bit | 127,)) + size.to_bytes(8, "big")
    return bytes((opcode,)) + length + mask + payload


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from([0x81, 0x01, 0x80, 0x82, 0x89, 0x8A, 0xC1]),
        st.one_of(
            st.binary(max_size=3),
            st.integers(120, 130).map(bytes),
            st.integers(65_530, 65_540).map(bytes),
        ),
        st.sampled_from([b"", b"\x00\xff\x00\xff"]),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize(
    ("sent", "between", "closed"),
    [
        # RFC 6455 section 5.7
        (b"\x81\x05Hello", True, False),
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", True, False),
        (b"\x01\x03Hel\x80\x02lo", True, False),
        (b"\x89\x05Hello", True, False),
        (b"\x82\x7e\x01\x00" + bytes(256), True, False),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(65536), True, False),
        (b"\x01\x03He", False, False),
        (b"\x82\x7e\x01", False, False),
        (b"\x81\x85\x37\xfa", False, False),
        (b"\x81", False, False),
        (b"\x88\x00", True, True),
        (b"\x88\x82\x00\x00\x00\x00\x03", False, True),
        (b"\x81\x05Hello\xb8\x02\x03\xe8", True, True),
        (b"\x81\x00", True, False),
        (b"", True, False),
    ],
)
def test_frames_are_followed(sent: bytes, between: bool, closed: bool) -> None:
    """The cursor knows whether a frame is under way, and whether one was a Close."""
    cursor = FrameCursor()
    cursor.advance(sent)

    assert (cursor.between_frames, cursor.closed) == (between, closed)


@given(FRAMES, st.data())
def test_reads_may_end_anywhere(frames: list[bytes], data: st.DataObject) -> None:
    """However a stream is cut into reads, frames end where they end."""
    stream = b"".join(frames)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    ends, total = set(), 0
    for one in frames:
        total += len(one)
        ends.add(total)
    cursor = FrameCursor()
    begin = 0
    for cut in (*cuts, len(stream)):
        cursor.advance(stream[begin:cut])
        begin = cut

        assert cursor.between_frames == (cut in ends or cut == 0)


@given(FRAMES)
def test_frames_are_counted(frames: list[bytes]) -> None:
    """Whoever reads them knows how much work they were."""
    assert FrameCursor().advance(b"".join(frames)) == len(frames)


@given(FRAMES, st.data())
def test_a_step_goes_to_the_end_of_one_frame(
    frames: list[bytes], data: st.DataObject
) -> None:
    """From anywhere inside the first frame, a step takes what is left of it."""
    stream = b"".join(frames)
    cut = data.draw(st.integers(0, len(frames[0]) - 1))
    cursor = FrameCursor()
    cursor.advance(stream[:cut])

    assert cut + cursor.step(stream[cut:]) == len(frames[0])
    assert cursor.between_frames


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (b"", b"\x88\x02\x03\xf0"),
        (b"\x01\x02\x03\x04", b"\x88\x82\x01\x02\x03\x04\x02\xf2"),
    ],
    ids=["to a client", "to a server"],
)
def test_close_frames(mask: bytes, expected: bytes) -> None:
    """A Close frame holds its code, masked for servers (sections 5.1 and 5.5.1)."""
    assert close_frame(1008, mask) == expected
    cursor = FrameCursor()
    cursor.advance(expected)
    assert cursor.closed
    assert cursor.between_frames
