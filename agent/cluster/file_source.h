// SPDX-License-Identifier: Apache-2.0
// The objects of a mesh from a folder of YAML files, watched (object_folder.h says what counts). One thread reads and calls the handler;
// files are best replaced by a rename, those written in place are read when they are closed. inotify(7) tells of changes; the whole folder
// is looked at every half minute besides, and every second while it cannot be listed.
//
// The handler is called first when every file has been read without an error: a mesh with a part missing would lack policies.
#pragma once

#include "agent/cluster/source.h"
#include "base/clock.h"
#include "base/result.h"

#include <chrono>
#include <memory>
#include <string>

namespace warren::cluster {

struct FileSourceOptions {
    std::string folder;
    std::chrono::milliseconds settle{20};                       // of quiet after a change,
    std::chrono::milliseconds settle_most{500};                 // under constant change
    std::chrono::milliseconds look = std::chrono::seconds(30);  // between looks without a change
};

class FileSource final : public Source {
  public:
    // The clock outlives it. Errors are inotify's; a folder that is missing is no error, it may come.
    static base::Result<std::unique_ptr<FileSource>> create(FileSourceOptions options, const base::Clock& clock);
    ~FileSource() override;

    void start(SourceHandler& handler) override;
    void stop() override;
    [[nodiscard]] SourceStatus status() const override;

  private:
    struct Impl;
    explicit FileSource(std::unique_ptr<Impl> impl);
    const std::unique_ptr<Impl> impl_;
};

}  // namespace warren::cluster
