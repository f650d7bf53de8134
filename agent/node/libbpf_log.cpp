// SPDX-License-Identifier: Apache-2.0
#include "agent/node/libbpf_log.h"

#include "base/log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <string_view>
#include <vector>

namespace warren::node {

namespace {

const base::log::Area kArea("libbpf");
constexpr size_t kMaxCapture = size_t{32} << 20;  // the verifier's longest log is 16 MiB
thread_local LibbpfCapture* capture = nullptr;

}  // namespace

struct LibbpfPrint {
    static int print(libbpf_print_level level, const char* format, va_list arguments) {
        if (level == LIBBPF_DEBUG && !kArea.enabled(base::log::Level::Trace)) return 0;
        va_list again;
        va_copy(again, arguments);
        const int size = std::vsnprintf(nullptr, 0, format, again);
        va_end(again);
        if (size <= 0) return 0;
        std::string text(static_cast<size_t>(size) + 1, '\0');
        std::vsnprintf(text.data(), text.size(), format, arguments);
        text.resize(static_cast<size_t>(size));
        if (capture != nullptr && level != LIBBPF_DEBUG && capture->text_.size() + text.size() < kMaxCapture) capture->text_ += text;
        while (!text.empty() && text.back() == '\n') text.pop_back();
        // A refusal comes back as an error, with its reason; here it is for those who look closer.
        const auto as = level == LIBBPF_WARN && capture == nullptr ? base::log::Level::Warn : base::log::Level::Debug;
        WARREN_LOG(kArea, as, text);
        return size;
    }
};

LibbpfCapture::LibbpfCapture() {
    static std::once_flag once;
    std::call_once(once, [] { ::libbpf_set_print(&LibbpfPrint::print); });
    capture = this;
}

LibbpfCapture::~LibbpfCapture() { capture = nullptr; }

std::string LibbpfCapture::summary() const {
    // The verifier's reason stands before its statistics ("processed N insns"); after the log libbpf only says that it failed.
    std::string_view text = text_;
    if (const size_t end = text.find("\nprocessed "); end != std::string_view::npos) text = text.substr(0, end);
    std::vector<std::string_view> lines;
    while (!text.empty() && lines.size() < 3) {
        const size_t start = text.rfind('\n');
        const std::string_view line = start == std::string_view::npos ? text : text.substr(start + 1);
        if (!line.empty()) lines.push_back(line.substr(0, 200));
        text = start == std::string_view::npos ? std::string_view() : text.substr(0, start);
    }
    std::string out;
    for (auto line = lines.rbegin(); line != lines.rend(); ++line) out.append(out.empty() ? "" : " | ").append(*line);
    return out.empty() ? "libbpf said nothing" : out;
}

}  // namespace warren::node
