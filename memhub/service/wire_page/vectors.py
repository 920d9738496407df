"""One example of every frame, for the tests of clients in other languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.abi import LP64, MDF_ACTIVE, MDF_WRITECOMBINE
from memhub.service import wire
from memhub.service.wire.greeting import MAGIC
from memhub.service.wire_page.tables import direction, feature_names

if TYPE_CHECKING:
    from memhub.service.wire import Message

_BASE: Final = 0xD0000000
_MIB: Final = 1 << 20
_DESC: Final = LP64.desc.pack(_BASE, _MIB, MDF_WRITECOMBINE, b"Xorg")
_SHOWN: Final = LP64.desc.pack(_BASE, _MIB, MDF_WRITECOMBINE | MDF_ACTIVE, b"Xorg")
_OBSTACLES: Final = (
    b'[{"kind":"claim","slot":1,"base":"3489660928","length":"1048576","process":"xorg",'
    b'"process_id":2}]'
)
_OUTCOME: Final = b"".join(
    (
        wire.OUTCOME_SLOT.pack(1, 0, 0, 0, b"", *LP64.desc.unpack(_SHOWN)),
        (1).to_bytes(4, "little"),
        wire.OUTCOME_MSR.pack(0x200, 0, 0xD0000001),
    )
)
_EVENT: Final = (
    b'{"seq":"12","event":"claim.take","wall_ns":"1700000000000000000","mono_ns":"5",'
    b'"machine":"lab","base":"3489660928","length":"1048576","fence":"7"}'
)

#: The examples; those of one exchange do not follow each other.
EXAMPLES: Final[tuple[Message, ...]] = (
    wire.Hello(0, MAGIC, 1, 1, wire.MODEL_LP64, 0, wire.FEATURES, "example", b"a-token"),
    wire.Goodbye(0, 5000, "the service stops"),
    wire.Welcome(0, 1, wire.MODEL_LP64, wire.FEATURES, _MIB, 64, 256, 0, "memhub 0.1.0"),
    wire.Refused(0, 35, "EAGAIN", "256 clients are connected, which is the limit"),
    wire.Abort(0, "too-long: body of 2097152 bytes in a frame of type 0x15 is over the limit"),
    wire.Event(0, 1, 2, 12, _BASE, _MIB, "claim.take", _EVENT),
    wire.Open(1, wire.OPEN_READ | wire.OPEN_WRITE, 0, "lab:/dev/mem"),
    wire.Close(2, 1),
    wire.Read(3, 1, 4096),
    wire.Pread(4, 1, 0xFFFFFFFFFFFFF000, 4096),
    wire.Write(5, 1, 6, b"abc"),
    wire.Pwrite(6, 1, _MIB, 3, b"abc"),
    wire.Seek(7, 1, wire.SEEK_CUR, (1 << 64) - 16),
    wire.Ioctl(8, 1, LP64.get, LP64.op.pack(1, 2, 0), room=64),
    wire.Set(9, 1, 0, 0, 250, 60_000, _DESC),
    wire.Cancel(9),
    wire.Claim(10, 1, 60_000, 0, _BASE, _MIB),
    wire.Release(11, 1, _BASE, _MIB, 7),
    wire.Renew(12, 1, _BASE, _MIB, 7, 60_000),
    wire.Wait(13, 1, _BASE, _MIB, 0xFFFFFFFF),
    wire.Break(14, 1, _BASE, _MIB, 0, "stale"),
    wire.Subscribe(15, 100, 0, 0, "lab", wire.SUBSCRIBE_REFUSED),
    wire.Unsubscribe(16, 1),
    wire.Report(17, "machines,claims", "lab"),
    wire.Explain(18, 1, 0xA0000),
    wire.Map(19, 1, wire.MAP_READ | wire.MAP_WRITE),
    wire.Ping(20, 0x1122334455667788),
    wire.Faults(21, "add", '{"action":"errno","op":["set"],"errno":"ENOSPC"}'),
    wire.Snapshot(23, "put", "lab", b"memhub-snapshot 1 "),
    wire.Show(24, "bytes", "lab", "vga"),
    wire.Call(25, 1, "set", b'{"entries":[[3489660928,16777216,1,5,0]]}'),
    wire.Flush(22, 1, wire.FLUSH_KEEP, _BASE, _MIB),
    wire.Data(3, True, b"the last bytes"),
    wire.Done(5, 6),
    wire.Opened(1, 1, wire.MODEL_LP64, 0, "amd64", "lab"),
    wire.IoctlDone(8, LP64.op.pack(1, 1, 0), _SHOWN),
    wire.Claimed(10, 60_000, 7, _BASE, _MIB),
    wire.Mapped(
        19, 3, wire.map_table([(0, 64 * _MIB, 0, "ram"), (1 << 32, _MIB, 64 * _MIB, "ram")])
    ),
    wire.SetDone(9, 7, 1, 1, 0, 1, _OUTCOME),
    wire.Error(9, 16, 0, "EBUSY", "RangeBusy", "slot 1 is claimed by xorg", _OBSTACLES),
)


def vectors() -> list[dict[str, Any]]:
    """The examples as JSON: 64-bit numbers as strings, bytes in hex."""
    return [_make_vector(it) for it in EXAMPLES]


def _make_vector(it: Message) -> dict[str, Any]:
    return {
        "frame": it.NAME,
        "type": it.TYPE,
        "from": direction(type(it)),
        "feature": feature_names().get(it.FEATURE),
        "hex": it.encode().hex(),
        "request": it.request,
        "fields": {name: _plain_value(getattr(it, name), kind) for name, kind in it.KINDS.items()},
    }


def _plain_value(value: Any, kind: str) -> Any:  # noqa: ANN401 - a field's value
    if isinstance(value, bytes):
        return value.hex()

    return str(value) if kind == "u64" else value
