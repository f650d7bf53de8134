// SPDX-License-Identifier: Apache-2.0
// One dump of the kernel's over netlink (netlink(7)): what is answered to a request with NLM_F_DUMP. Blocking, any thread, of the namespace
// that the socket was made in. The kernel answers on the caller's own thread: what there is to read is there when send returns, so a
// socket that does not block serves as well.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <functional>
#include <span>

struct nlmsghdr;

namespace warren::base {

// request: the header and what follows it. each: every message but the end, in order; valid during the call. When it says false that was
// enough, and the socket is good for nothing more: what is left of the answer is in it. An error carries the kernel's errno and names
// `what`.
[[nodiscard]] Result<void> netlink_dump(int fd, std::span<const std::byte> request, const char* what,
                                        const std::function<bool(const nlmsghdr&)>& each);

}  // namespace warren::base
