// SPDX-License-Identifier: Apache-2.0
// libbpf's messages: to the log, and kept while somebody wants to know why a call failed (the verifier's reasons come that way). The first
// use takes over libbpf's print function for the process.
#pragma once

#include <string>

namespace warren::node {

// Keeps what libbpf says on this thread while it lives. They do not nest.
class LibbpfCapture {
  public:
    LibbpfCapture();
    ~LibbpfCapture();
    LibbpfCapture(const LibbpfCapture&) = delete;
    LibbpfCapture& operator=(const LibbpfCapture&) = delete;

    [[nodiscard]] const std::string& text() const { return text_; }
    // The last lines that tell most, on one line.
    [[nodiscard]] std::string summary() const;

  private:
    friend struct LibbpfPrint;
    std::string text_;
};

}  // namespace warren::node
