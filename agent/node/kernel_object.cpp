// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kernel_object.h"

#include "agent/node/libbpf_log.h"
#include "agent/node/map_adoption.h"
#include "agent/node/typed_map.h"
#include "base/bytes.h"
#include "base/log.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("kernel");

// What loading and attaching need; checked first, for the kernel says only EPERM.
base::Result<void> check_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> data{};
    if (::syscall(SYS_capget, &header, data.data()) != 0) return base::os_error("capget");
    const auto has = [&data](unsigned capability) { return (data[capability / 32].effective >> (capability % 32) & 1) != 0; };
    std::string missing;
    const auto need = [&](unsigned capability, const char* name) {
        if (!has(capability) && !has(CAP_SYS_ADMIN)) missing += (missing.empty() ? "" : ", ") + std::string(name);
    };
    need(CAP_BPF, "CAP_BPF");
    need(CAP_PERFMON, "CAP_PERFMON");
    if (!has(CAP_NET_ADMIN)) missing += (missing.empty() ? "" : ", ") + std::string("CAP_NET_ADMIN");
    if (missing.empty()) return {};
    return base::Error{base::Errc::Denied, 0, "load", "the agent lacks " + missing + "; add them to its container's securityContext"};
}

base::Result<void> check_types() {
    if (::access("/sys/kernel/btf/vmlinux", R_OK) == 0) return {};
    return base::os_error("load", "/sys/kernel/btf/vmlinux: the kernel has no type information; use one with CONFIG_DEBUG_INFO_BTF=y");
}

}  // namespace

base::Result<uint64_t> raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return base::os_error("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return base::os_error("setrlimit", "open files");
    return limit.rlim_cur;
}

void KernelObject::Close::operator()(bpf_object* object) const { ::bpf_object__close(object); }
KernelObject::~KernelObject() = default;

base::Result<std::unique_ptr<KernelObject>> KernelObject::load(std::span<const uint8_t> bytes, const KernelObjectSettings& settings,
                                                               const Pins& pins) {
    TRY(check_capabilities());
    TRY(check_types());
    std::unique_ptr<KernelObject> object(new KernelObject());
    TRY(object->open(bytes, settings));
    TRY(object->adopt(pins));
    TRY(object->load_programs(settings));
    TRY(object->pin(pins));
    TRY(object->list_programs());
    return object;
}

base::Result<void> KernelObject::open(std::span<const uint8_t> bytes, const KernelObjectSettings& settings) {
    LibbpfCapture capture;
    bpf_object_open_opts options{};
    options.sz = sizeof options;
    options.object_name = "warren";
    object_.reset(::bpf_object__open_mem(bytes.data(), bytes.size(), &options));
    if (!object_) return base::os_error("open object", "warren.bpf.o: " + capture.summary());
    for (const auto& [name, entries] : settings.map_entries) {
        bpf_map* map = ::bpf_object__find_map_by_name(object_.get(), name.c_str());
        if (map == nullptr) return base::invalid("size of map " + base::quoted(name) + ": there is no such map");
        if (entries == 0 || ::bpf_map__set_max_entries(map, entries) != 0)
            return base::invalid("size of map " + name + ": " + std::to_string(entries) + " is not possible");
    }
    for (const auto& [name, why] : settings.leave_out) {
        bpf_program* program = ::bpf_object__find_program_by_name(object_.get(), name.c_str());
        if (program == nullptr) continue;
        ::bpf_program__set_autoload(program, false);
        left_out_.emplace(name, why);
    }
    return {};
}

base::Result<void> KernelObject::adopt(const Pins& pins) {
    TRY(check_abi_version(pins));
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object_.get()) {
        if (::bpf_map__is_internal(map)) continue;
        const std::string name = ::bpf_map__name(map);
        MapReport report{.name = name, .entries = ::bpf_map__max_entries(map), .wanted = ::bpf_map__max_entries(map)};
        base::Fd pinned = TRY(pins.get_map(name));
        if (pinned) {
            const MapFit fit = TRY(compare_maps({.name = name,
                                                 .type = static_cast<uint32_t>(::bpf_map__type(map)),
                                                 .key_size = ::bpf_map__key_size(map),
                                                 .value_size = ::bpf_map__value_size(map),
                                                 .entries = ::bpf_map__max_entries(map),
                                                 .flags = ::bpf_map__map_flags(map)},
                                                pinned.get(), pins));
            if (fit.move_rows) {
                report.how = MapReport::How::Migrated;
                migrating_.emplace(name, std::move(pinned));
            } else {
                report.how = MapReport::How::Adopted;
                report.entries = fit.entries;
                if (const int result = ::bpf_map__reuse_fd(map, pinned.get()); result != 0)
                    return base::os_error_of(-result, "adopt map", name);
                adopted_.emplace(name, std::move(pinned));
            }
        }
        maps_.push_back(std::move(report));
    }
    return {};
}

base::Result<void> KernelObject::load_programs(const KernelObjectSettings& settings) {
    LibbpfCapture capture;
    const int result = ::bpf_object__load(object_.get());
    if (result == 0) return {};
    std::string hint;
    if (!settings.verifier_log.empty()) {
        std::ofstream out(settings.verifier_log, std::ios::trunc);
        out << capture.text();
        hint = out.good() ? "; the whole of it is in " + settings.verifier_log : "; " + settings.verifier_log + " could not be written";
    }
    return base::os_error_of(-result, "load object", "the kernel refused: " + capture.summary() + hint);
}

base::Result<void> KernelObject::pin(const Pins& pins) {
    for (MapReport& report : maps_) {
        const int fd = TRY(map_fd(report.name));
        if (const auto old = migrating_.find(report.name); old != migrating_.end()) {
            TRY(copy_rows(report.name, old->second.get(), fd));
            // The links still run programs with the old map: nobody but this agent writes it, so both are equal until they are replaced.
            WARREN_LOG(kArea, base::log::Level::Info, "map moved to another size", {"map", report.name}, {"entries", report.entries});
        }
        if (report.how != MapReport::How::Adopted) TRY(pins.pin_map(report.name, fd));
        report.id = TRY(map_id(fd));
        report.bytes = map_bytes(fd);
    }
    migrating_.clear();
    return {};
}

base::Result<void> KernelObject::list_programs() {
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object_.get()) {
        if (!::bpf_program__autoload(program)) continue;
        LoadedProgram loaded{.name = ::bpf_program__name(program),
                             .fd = ::bpf_program__fd(program),
                             .type = static_cast<uint32_t>(::bpf_program__type(program)),
                             .attach_type = static_cast<uint32_t>(::bpf_program__expected_attach_type(program))};
        bpf_prog_info info{};
        uint32_t size = sizeof info;
        if (::bpf_obj_get_info_by_fd(loaded.fd, &info, &size) != 0) return base::os_error("program info", loaded.name);
        loaded.id = info.id;
        programs_.push_back(std::move(loaded));
    }
    return {};
}

const LoadedProgram* KernelObject::program(std::string_view name) const {
    for (const LoadedProgram& program : programs_)
        if (program.name == name) return &program;
    return nullptr;
}

base::Result<int> KernelObject::map_fd(std::string_view name) const {
    const int fd = ::bpf_object__find_map_fd_by_name(object_.get(), std::string(name).c_str());
    if (fd >= 0) return fd;
    return base::Error{base::Errc::NotFound, 0, "map", std::string(name) + " is not in the object this agent was built with"};
}

base::Result<size_t> KernelObject::repair_pins(const Pins& pins) const {
    size_t repaired = 0;
    for (const MapReport& report : maps_) {
        if (pins.has_map(report.name)) continue;
        TRY(pins.pin_map(report.name, TRY(map_fd(report.name))));
        ++repaired;
    }
    return repaired;
}

}  // namespace warren::node
