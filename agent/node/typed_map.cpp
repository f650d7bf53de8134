// SPDX-License-Identifier: Apache-2.0
#include "agent/node/typed_map.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace warren::node {

namespace {

constexpr int kNotSupported = 524;  // ENOTSUPP, the kernel's own number, which libc does not know
constexpr uint32_t kBatch = 4096;

bool no_batches(int os) { return os == kNotSupported || os == EOPNOTSUPP || os == EINVAL; }

base::Error map_error(int os, const char* where, const RawMap& map) {
    if (os == E2BIG || os == ENOSPC) {
        return {base::Errc::Exhausted, os, where,
                map.name() + " is full (" + std::to_string(map.capacity()) + " rows); raise its size in the settings"};
    }
    return base::os_error_of(os, where, map.name());
}

}  // namespace

base::Result<RawMap> RawMap::bind(std::string name, int fd, size_t key_size, size_t value_size) {
    bpf_map_info info{};
    uint32_t size = sizeof info;
    if (::bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return base::os_error("map info", name);
    if (info.key_size != key_size || info.value_size != value_size) {
        return base::Error{base::Errc::Unsupported, 0, "map",
                           name + ": key and value are " + std::to_string(info.key_size) + " and " + std::to_string(info.value_size) +
                               " bytes, this agent was built for " + std::to_string(key_size) + " and " + std::to_string(value_size)};
    }
    RawMap map;
    map.name_ = std::move(name);
    map.fd_ = fd;
    map.key_size_ = key_size;
    map.value_size_ = value_size;
    map.capacity_ = info.max_entries;
    return map;
}

base::Result<bool> RawMap::lookup(const void* key, void* value) const {
    if (::bpf_map_lookup_elem(fd_, key, value) == 0) return true;
    if (errno == ENOENT) return false;
    return map_error(errno, "map lookup", *this);
}

base::Result<void> RawMap::update(const void* key, const void* value) const {
    if (::bpf_map_update_elem(fd_, key, value, BPF_ANY) == 0) return {};
    return map_error(errno, "map update", *this);
}

base::Result<bool> RawMap::erase(const void* key) const {
    if (::bpf_map_delete_elem(fd_, key) == 0) return true;
    if (errno == ENOENT) return false;
    return map_error(errno, "map delete", *this);
}

base::Result<void> RawMap::update_many(const void* keys, const void* values, size_t count) const {
    const auto* key = static_cast<const std::byte*>(keys);
    const auto* value = static_cast<const std::byte*>(values);
    size_t done = 0;
    while (done < count) {
        uint32_t n = static_cast<uint32_t>(std::min<size_t>(count - done, kBatch));
        if (::bpf_map_update_batch(fd_, key + done * key_size_, value + done * value_size_, &n, nullptr) == 0) {
            done += n;
            continue;
        }
        if (!no_batches(errno)) return map_error(errno, "map update", *this);
        for (; done < count; ++done) TRY(update(key + done * key_size_, value + done * value_size_));
    }
    return {};
}

base::Result<void> RawMap::erase_many(const void* keys, size_t count) const {
    const auto* key = static_cast<const std::byte*>(keys);
    size_t done = 0;
    while (done < count) {
        uint32_t n = static_cast<uint32_t>(std::min<size_t>(count - done, kBatch));
        if (::bpf_map_delete_batch(fd_, key + done * key_size_, &n, nullptr) == 0) {
            done += n;
            continue;
        }
        // A row that is not there ends a batch: the rest one by one, for which it is nothing.
        if (errno != ENOENT && !no_batches(errno)) return map_error(errno, "map delete", *this);
        for (; done < count; ++done) TRY(erase(key + done * key_size_));
    }
    return {};
}

base::Result<size_t> RawMap::read(std::vector<std::byte>& keys, std::vector<std::byte>* values) const {
    std::vector<std::byte> position(std::max<size_t>(key_size_, sizeof(uint32_t))), next(position.size()), unused;
    std::vector<std::byte>& out = values ? *values : unused;
    size_t total = 0;
    size_t room = std::min<size_t>(capacity_, kBatch);
    bool first = true;
    for (;;) {
        keys.resize((total + room) * key_size_);
        out.resize((total + room) * value_size_);
        uint32_t n = static_cast<uint32_t>(room);
        const int result = ::bpf_map_lookup_batch(fd_, first ? nullptr : position.data(), next.data(), keys.data() + total * key_size_,
                                                  out.data() + total * value_size_, &n, nullptr);
        const int os = result == 0 ? 0 : errno;
        if (os == ENOSPC && room < capacity_) {  // one bucket holds more than that
            room = std::min<size_t>(capacity_, room * 2);
            continue;
        }
        if (os == 0 || os == ENOENT) total += n;
        if (os != 0 && os != ENOENT) return map_error(os, "map read", *this);
        if (os == ENOENT || total > size_t{capacity_} * 2) break;
        position.swap(next);
        first = false;
    }
    keys.resize(total * key_size_);
    out.resize(total * value_size_);
    return total;
}

}  // namespace warren::node
