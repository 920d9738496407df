"""What kvm(3) answers where it cannot do what is asked."""

from __future__ import annotations

from memhub.errors import DeviceError


class KvmError(DeviceError):
    """Raised where kvm(3) answers -1; the reason is what kvm_geterr(3) says, and then why.

    `code` and `moved` are those of the device that refused.
    """
