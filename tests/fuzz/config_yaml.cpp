// SPDX-License-Identifier: Apache-2.0
// A configuration file through a schema with every type: refused, or what it gives prints as what it is when read again from flags.
#include "base/config.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    namespace config = warren::base::config;
    using namespace std::chrono_literals;
    bool on = false;
    int32_t whole = 0;
    std::chrono::nanoseconds wait = 1s;
    uint64_t bytes = 1;
    std::string text, word = "a", addr = "1.2.3.4:5";
    std::vector<std::string> list;
    config::Schema schema;
    schema.boolean({"a.on", {}, "--on", ""}, on);
    schema.integer({"a.n", {}, "--n", ""}, whole, -1000, 1000);
    schema.duration({"b.wait", {}, "--wait", ""}, wait, 0s, 24h);
    schema.size({"b.bytes", {}, "--bytes", ""}, bytes, 0, UINT64_MAX);
    schema.text({"text", {}, "", ""}, text);
    schema.choice<std::string>({"c.d.word", {}, "--word", ""}, word, {{"a", "a"}, {"b", "b"}});
    schema.list({"list", {}, "", ""}, list);
    schema.socket_addr({"addr", {}, "--addr", ""}, addr);

    config::Sources file;
    file.file = "fuzz.yaml";
    file.file_text = std::string(reinterpret_cast<const char*>(data), size);
    file.env = [](const char*) -> const char* { return nullptr; };
    const auto first = schema.read(file);
    if (!first) return 0;
    config::Sources flags{.env = file.env};
    for (const auto& [name, flag] : {std::pair("a.on", "--on"),
                                     {"a.n", "--n"},
                                     {"b.wait", "--wait"},
                                     {"b.bytes", "--bytes"},
                                     {"c.d.word", "--word"},
                                     {"addr", "--addr"}}) {
        flags.args.emplace_back(flag);
        flags.args.push_back(first->find(name)->value);
    }
    const auto second = schema.read(flags);
    if (!second) std::abort();
    for (const auto& s : second->settings)
        if (s.given && s.value != first->find(s.name)->value) std::abort();
    return 0;
}
