// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/tar_gz.h"

#include <fmt/format.h>

#include <zlib.h>

#include <algorithm>
#include <array>

namespace warren::tools {
namespace {

constexpr size_t kBlock = 512;

void put(std::string& header, size_t at, const std::string& value) { header.replace(at, value.size(), value); }

// The layout is ustar's: name 100, mode 8, uid 8, gid 8, size 12, mtime 12, checksum 8, type 1, link 100, magic 8.
std::string header_of(const std::string& name, size_t size, int64_t mtime) {
    std::string h(kBlock, '\0');
    put(h, 0, name);
    put(h, 100, "0000600");
    put(h, 108, "0000000");
    put(h, 116, "0000000");
    put(h, 124, fmt::format("{:011o}", size));
    put(h, 136, fmt::format("{:011o}", std::max<int64_t>(mtime, 0)));
    put(h, 148, "        ");
    put(h, 156, "0");
    put(h, 257,
        std::string("ustar\0"
                    "00",
                    8));
    unsigned sum = 0;
    for (const char c : h) sum += static_cast<unsigned char>(c);
    put(h, 148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    return h;
}

base::Result<std::string> gzip(std::string& bytes) {
    z_stream z{};
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return base::Error{base::Errc::Exhausted, 0, "", "zlib did not start"};
    std::string out;
    std::array<char, 64 * 1024> buffer{};
    size_t at = 0;
    int state = Z_OK;
    while (state == Z_OK) {
        if (z.avail_in == 0 && at < bytes.size()) {
            const size_t n = std::min(bytes.size() - at, size_t{1} << 20);
            z.next_in = reinterpret_cast<Bytef*>(bytes.data() + at);
            z.avail_in = static_cast<uInt>(n);
            at += n;
        }
        z.next_out = reinterpret_cast<Bytef*>(buffer.data());
        z.avail_out = static_cast<uInt>(buffer.size());
        state = deflate(&z, at == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
        out.append(buffer.data(), buffer.size() - z.avail_out);
    }
    deflateEnd(&z);
    if (state != Z_STREAM_END) return base::Error{base::Errc::Internal, 0, "", "zlib failed"};
    return out;
}

}  // namespace

base::Result<std::string> tar_gz(const std::vector<std::pair<std::string, std::string>>& files, int64_t mtime) {
    std::string tar;
    for (const auto& [name, content] : files) {
        if (name.size() > 99) return base::invalid("\"" + name + "\" is longer than a name in an archive may be");
        tar += header_of(name, content.size(), mtime) + content;
        tar.append((kBlock - content.size() % kBlock) % kBlock, '\0');
    }
    tar.append(2 * kBlock, '\0');
    return gzip(tar);
}

}  // namespace warren::tools
