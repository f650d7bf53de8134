// SPDX-License-Identifier: Apache-2.0
// KernelObject: the programs and maps of warren.bpf.o in the kernel. Loads the object through libbpf, takes over the maps that an earlier
// agent pinned (architecture 3: an agent's death changes nothing), pins the new ones. Made once, at start, by the thread that starts;
// afterwards its descriptors may be used from any thread. libbpf's types stay inside; its messages go to the log.
//
// Maps taken over must have the layout this agent was built for (wr_config.abi_version, kind, key, value, flags). A map that only the agent
// writes moves to another size with its rows; one that the kernel writes keeps the size it has, which is reported. Anything else is
// refused: the error names the map, what differs and the way out, and the older programs go on.
#pragma once

#include "agent/node/pins.h"
#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct bpf_object;

namespace warren::node {

// The object this agent was built with.
[[nodiscard]] std::span<const uint8_t> embedded_object();

// A pod costs three descriptors, and the soft limit is often 1,024: raised to what the process may have. Returns the limit in force.
base::Result<uint64_t> raise_descriptor_limit();

struct KernelObjectSettings {
    std::map<std::string, uint32_t> map_entries = {};   // sizes other than the object's own, by name of the map
    std::string verifier_log = {};                      // file for what the kernel says about a refused program; empty: none
    std::map<std::string, std::string> leave_out = {};  // program -> why: this kernel cannot load it (features.h)
};

struct LoadedProgram {
    std::string name;
    int fd = -1;  // the object's
    uint32_t id = 0;
    uint32_t type = 0;         // bpf_prog_type
    uint32_t attach_type = 0;  // bpf_attach_type it was verified for
};

struct MapReport {
    std::string name;
    enum class How : uint8_t { Made, Adopted, Migrated } how = How::Made;
    uint32_t id = 0;
    uint32_t entries = 0;
    uint32_t wanted = 0;  // differs from entries where the old size had to be kept
    uint64_t bytes = 0;   // what the kernel says it takes (bytes_memlock); 0: it does not say
};

class KernelObject {
  public:
    static base::Result<std::unique_ptr<KernelObject>> load(std::span<const uint8_t> object, const KernelObjectSettings& settings,
                                                            const Pins& pins);
    ~KernelObject();
    KernelObject(const KernelObject&) = delete;
    KernelObject& operator=(const KernelObject&) = delete;

    [[nodiscard]] const std::vector<LoadedProgram>& programs() const { return programs_; }
    [[nodiscard]] const LoadedProgram* program(std::string_view name) const;  // null: not in the object, or left out
    [[nodiscard]] const std::map<std::string, std::string>& left_out() const { return left_out_; }
    [[nodiscard]] base::Result<int> map_fd(std::string_view name) const;
    [[nodiscard]] const std::vector<MapReport>& maps() const { return maps_; }
    // Pins that somebody removed are put back. How many those were.
    [[nodiscard]] base::Result<size_t> repair_pins(const Pins& pins) const;

  private:
    struct Close {
        void operator()(bpf_object* object) const;
    };
    KernelObject() = default;
    base::Result<void> open(std::span<const uint8_t> bytes, const KernelObjectSettings& settings);
    base::Result<void> adopt(const Pins& pins);
    base::Result<void> load_programs(const KernelObjectSettings& settings);
    base::Result<void> pin(const Pins& pins);
    base::Result<void> list_programs();

    std::unique_ptr<bpf_object, Close> object_;
    std::vector<LoadedProgram> programs_;
    std::map<std::string, std::string> left_out_;
    std::vector<MapReport> maps_;
    std::map<std::string, base::Fd> adopted_;    // pinned maps in use
    std::map<std::string, base::Fd> migrating_;  // pinned maps whose rows move to a new one
};

}  // namespace warren::node
