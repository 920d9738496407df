"""The protocol of the service, without I/O: bytes in, messages out.

`docs/protocol.md` describes it for clients in any language. The modules:

- `layout`: the frame, and how a message class declares its layout
- `greeting`, `ioctls`, `transfer`, `requests`, `administration`, `caches`, `calls`, `devices`,
  `replies`: the messages
- `decoder`: bytes to messages, and which answer belongs to which request
- `server`, `client`: the two sides of a connection, with their states and limits
- `refusals`: errors across the wire
"""

from memhub.service.wire.administration import Faults as Faults
from memhub.service.wire.administration import Snapshot as Snapshot
from memhub.service.wire.caches import FLUSH_DROP as FLUSH_DROP
from memhub.service.wire.caches import FLUSH_FENCE as FLUSH_FENCE
from memhub.service.wire.caches import FLUSH_KEEP as FLUSH_KEEP
from memhub.service.wire.caches import Flush as Flush
from memhub.service.wire.calls import Call as Call
from memhub.service.wire.calls import pack_plain as pack_plain
from memhub.service.wire.calls import read_plain as read_plain
from memhub.service.wire.client import ClientProtocol as ClientProtocol
from memhub.service.wire.decoder import Decoder as Decoder
from memhub.service.wire.devices import Show as Show
from memhub.service.wire.greeting import ALPN as ALPN
from memhub.service.wire.greeting import FEATURE_CACHES as FEATURE_CACHES
from memhub.service.wire.greeting import FEATURE_DEVICES as FEATURE_DEVICES
from memhub.service.wire.greeting import FEATURE_FAULTS as FEATURE_FAULTS
from memhub.service.wire.greeting import FEATURE_KERNELS as FEATURE_KERNELS
from memhub.service.wire.greeting import FEATURE_MAP as FEATURE_MAP
from memhub.service.wire.greeting import FEATURE_MAP_ROM as FEATURE_MAP_ROM
from memhub.service.wire.greeting import FEATURE_REFUSALS as FEATURE_REFUSALS
from memhub.service.wire.greeting import FEATURE_SET as FEATURE_SET
from memhub.service.wire.greeting import FEATURE_SNAPSHOTS as FEATURE_SNAPSHOTS
from memhub.service.wire.greeting import FEATURE_STRINGS as FEATURE_STRINGS
from memhub.service.wire.greeting import FEATURES as FEATURES
from memhub.service.wire.greeting import MAP_FEATURES as MAP_FEATURES
from memhub.service.wire.greeting import MODEL_ILP32 as MODEL_ILP32
from memhub.service.wire.greeting import MODEL_LP64 as MODEL_LP64
from memhub.service.wire.greeting import MODEL_NATIVE as MODEL_NATIVE
from memhub.service.wire.greeting import VERSION_MAX as VERSION_MAX
from memhub.service.wire.greeting import VERSION_MIN as VERSION_MIN
from memhub.service.wire.greeting import Abort as Abort
from memhub.service.wire.greeting import Event as Event
from memhub.service.wire.greeting import Goodbye as Goodbye
from memhub.service.wire.greeting import Hello as Hello
from memhub.service.wire.greeting import Refused as Refused
from memhub.service.wire.greeting import Welcome as Welcome
from memhub.service.wire.greeting import model_name as model_name
from memhub.service.wire.ioctls import OUTCOME_LEFT_OUT as OUTCOME_LEFT_OUT
from memhub.service.wire.ioctls import OUTCOME_MSR as OUTCOME_MSR
from memhub.service.wire.ioctls import OUTCOME_SLOT as OUTCOME_SLOT
from memhub.service.wire.ioctls import Ioctl as Ioctl
from memhub.service.wire.ioctls import IoctlDone as IoctlDone
from memhub.service.wire.ioctls import Set as Set
from memhub.service.wire.ioctls import SetDone as SetDone
from memhub.service.wire.layout import U32_MAX as U32_MAX
from memhub.service.wire.layout import LocalProtocolError as LocalProtocolError
from memhub.service.wire.layout import Message as Message
from memhub.service.wire.layout import ProtocolError as ProtocolError
from memhub.service.wire.protocol import Limits as Limits
from memhub.service.wire.protocol import pieces as pieces
from memhub.service.wire.refusals import error_from_wire as error_from_wire
from memhub.service.wire.refusals import error_to_wire as error_to_wire
from memhub.service.wire.replies import OPEN_BUS_SIZE as OPEN_BUS_SIZE
from memhub.service.wire.replies import Claimed as Claimed
from memhub.service.wire.replies import Error as Error
from memhub.service.wire.replies import Mapped as Mapped
from memhub.service.wire.replies import Opened as Opened
from memhub.service.wire.replies import map_table as map_table
from memhub.service.wire.requests import MAP_READ as MAP_READ
from memhub.service.wire.requests import MAP_ROM as MAP_ROM
from memhub.service.wire.requests import MAP_WRITE as MAP_WRITE
from memhub.service.wire.requests import OPEN_READ as OPEN_READ
from memhub.service.wire.requests import OPEN_UNDO as OPEN_UNDO
from memhub.service.wire.requests import OPEN_WRITE as OPEN_WRITE
from memhub.service.wire.requests import SEEK_CUR as SEEK_CUR
from memhub.service.wire.requests import SEEK_DATA as SEEK_DATA
from memhub.service.wire.requests import SEEK_END as SEEK_END
from memhub.service.wire.requests import SEEK_HOLE as SEEK_HOLE
from memhub.service.wire.requests import SEEK_SET as SEEK_SET
from memhub.service.wire.requests import SUBSCRIBE_REFUSED as SUBSCRIBE_REFUSED
from memhub.service.wire.requests import Break as Break
from memhub.service.wire.requests import Cancel as Cancel
from memhub.service.wire.requests import Claim as Claim
from memhub.service.wire.requests import Close as Close
from memhub.service.wire.requests import Explain as Explain
from memhub.service.wire.requests import Map as Map
from memhub.service.wire.requests import Open as Open
from memhub.service.wire.requests import Ping as Ping
from memhub.service.wire.requests import Release as Release
from memhub.service.wire.requests import Renew as Renew
from memhub.service.wire.requests import Report as Report
from memhub.service.wire.requests import Seek as Seek
from memhub.service.wire.requests import Subscribe as Subscribe
from memhub.service.wire.requests import Unsubscribe as Unsubscribe
from memhub.service.wire.requests import Wait as Wait
from memhub.service.wire.server import ServerProtocol as ServerProtocol
from memhub.service.wire.transfer import Data as Data
from memhub.service.wire.transfer import Done as Done
from memhub.service.wire.transfer import Pread as Pread
from memhub.service.wire.transfer import Pwrite as Pwrite
from memhub.service.wire.transfer import Read as Read
from memhub.service.wire.transfer import Write as Write
