// SPDX-License-Identifier: Apache-2.0
// Two record layers with each other's secrets, driven by a script: writes, key updates, and records whose inner text, header or bytes
// the script makes up. What is opened must be what was written, in order; a changed byte must never open; nothing may crash.
#include "ztunnel/tls_records.h"

#include "base/fd.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <sys/socket.h>

using namespace warren;
using namespace warren::ztunnel;

namespace {

class Script {
  public:
    Script(const uint8_t* data, size_t size) : data_(data), size_(size) {}
    uint8_t byte() { return at_ < size_ ? data_[at_++] : uint8_t{0}; }
    size_t number() { return size_t{byte()} << 8 | byte(); }
    [[nodiscard]] bool more() const { return at_ < size_; }

  private:
    const uint8_t* data_;
    size_t size_, at_ = 0;
};

void require(bool ok) {
    if (!ok) std::abort();
}

struct Run {
    ChunkPool chunks{2, 4};
    base::FdPair fds = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    base::FdPair back = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    RecordWriter writer{chunks}, answers{chunks};
    RecordReader reader;
    std::vector<uint8_t> wire;
    std::string written, got;
    bool touched = false;  // the script changed something: the reader may fail, once, for good
    bool dead = false;

    Run(uint64_t limit, bool small) {
        const TlsSuite suite = small ? TlsSuite{Aead::Aes128Gcm, TlsHash::Sha256} : TlsSuite{Aead::Aes256Gcm, TlsHash::Sha384};
        const std::vector<uint8_t> there(hash_bytes(suite.hash), 1), other(hash_bytes(suite.hash), 2);
        require(writer.start(suite, there, limit) && answers.start(suite, other) && reader.start(TlsRole::Client, suite, there, 1000));
    }

    void write(size_t n, uint8_t fill, bool reserve) {
        const std::string text(n, static_cast<char>(fill));
        if (!reserve) {
            if (writer.append({reinterpret_cast<const uint8_t*>(text.data()), n})) written += text;
            return;
        }
        Gaps gaps;
        const size_t head = std::min<size_t>(n, 9);
        if (!writer.reserve(head, n, gaps)) return;
        require(gaps.bytes <= n && gaps.count <= 17);
        const size_t used = fill % 3 == 0 ? gaps.bytes / 2 : gaps.bytes;
        size_t left = used;
        for (int i = 0; i < gaps.count; ++i) {
            const iovec& gap = gaps.iov[static_cast<size_t>(i)];
            const size_t part = std::min(left, gap.iov_len);
            std::memset(gap.iov_base, fill, part);
            left -= part;
        }
        require(left == 0);
        writer.commit({reinterpret_cast<const uint8_t*>(text.data()), head}, used);
        written.append(head + used, static_cast<char>(fill));
    }

    void pull() {
        (void)writer.flush(fds.first.get());
        std::vector<uint8_t> more(1 << 16);
        for (;;) {
            const ssize_t n = ::recv(fds.second.get(), more.data(), more.size(), 0);
            if (n <= 0) return;
            wire.insert(wire.end(), more.begin(), more.begin() + n);
        }
    }

    void read(size_t limit) {
        while (!dead && !wire.empty()) {
            const size_t n = std::min(limit, wire.size());
            auto opened = reader.open({wire.data(), n}, answers);
            if (!opened) {
                require(touched || writer.key_updates() > kMaxIdleRecords);
                dead = true;
                require(answers.finished() || !opened.error().detail.empty());
                return;
            }
            require(opened->consumed <= n);
            got.append(opened->data.begin(), opened->data.end());
            require(touched || written.compare(0, got.size(), got) == 0);
            wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(opened->consumed));
            if (opened->consumed == 0) return;
        }
        (void)answers.flush(back.first.get());
        std::vector<uint8_t> sink(1 << 16);
        while (::recv(back.second.get(), sink.data(), sink.size(), 0) > 0) continue;
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size > 512) return 0;  // a script, not a payload: more only repeats
    Script script(data, size);
    const uint8_t setup = script.byte();
    Run run(setup < 64 ? 2 + setup : kRekeyRecords, setup % 2 == 0);
    while (script.more()) {
        const uint8_t op = script.byte();
        switch (op % 8) {
            case 0: run.write(script.byte(), op, false); break;
            case 1: run.write(script.number(), op, true); break;
            case 2: run.write(script.number(), op, false); break;
            case 3: require(run.writer.update_key(op >= 128)); break;
            case 4: run.pull(); break;
            case 5: run.read(op < 64 ? script.number() + 1 : SIZE_MAX); break;
            case 6:
                if (!run.wire.empty()) {
                    const size_t at = script.number() % run.wire.size();
                    const uint8_t mask = script.byte();
                    run.wire[at] ^= mask;
                    run.touched = run.touched || mask != 0;
                }
                break;
            default: {  // foreign bytes in front
                const size_t n = script.byte() % 64;
                std::vector<uint8_t> foreign(n);
                for (auto& b : foreign) b = script.byte();
                run.wire.insert(run.wire.begin(), foreign.begin(), foreign.end());
                run.touched = run.touched || n > 0;
            }
        }
    }
    // Key updates alone may be more in a row than a reader bears.
    const bool updates = run.writer.key_updates() > kMaxIdleRecords;
    for (int i = 0; i < 64 && !run.dead && !updates; ++i) {
        run.pull();
        run.read(SIZE_MAX);
    }
    // Whatever is opened before the first change is the truth; without a change all of it arrives.
    if (!run.touched && !updates) require(run.got == run.written);
    return 0;
}
