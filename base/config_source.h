// SPDX-License-Identifier: Apache-2.0
// The raw sides of base/config.h: what a YAML text and a command line say, without knowing what is right. Pure functions over foreign
// bytes; yaml-cpp and CLI11 are used here and their exceptions end here. Bounds: 1 MiB of YAML, one document, 1,000 values, 16 levels.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace warren::base::config {

struct RawValue {
    enum class Shape : uint8_t { Scalar, Sequence, Null, EmptyMap };
    std::string name;
    std::vector<std::string> items;  // one when Scalar
    Shape shape = Shape::Scalar;
    std::string origin;
};

// Mappings flattened to dotted names, in the order of the text. path is only named in origins and errors.
Result<std::vector<RawValue>> read_yaml(std::string_view text, const std::string& path);

struct FlagSpec {
    std::string flag;  // "--name"
    std::string name;
    std::string type;
    std::string initial;
    std::string help;
    bool list = false;
};

struct Flags {
    std::vector<RawValue> values;
    std::string config;  // of --config
    bool help = false;
};

// Every flag takes a value: --x v or --x=v. --config FILE and --help are always there.
Result<Flags> read_flags(const std::vector<FlagSpec>& specs, const std::vector<std::string>& args);
[[nodiscard]] std::string flags_help(const std::vector<FlagSpec>& specs, const std::string& program);

}  // namespace warren::base::config
