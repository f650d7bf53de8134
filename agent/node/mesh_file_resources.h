// SPDX-License-Identifier: Apache-2.0
// A local mesh file (policy/mesh_yaml.h) as what a control plane would have sent of it: resources that are new or other than before, and
// names that are gone. The thread of the source.
#pragma once

#include "agent/xds/update.h"
#include "base/result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

class MeshFileResources {
  public:
    // Lives no longer than the next call of change().
    class Change {
      public:
        [[nodiscard]] xds::Update addresses() const;
        [[nodiscard]] xds::Update policies() const;

      private:
        friend class MeshFileResources;
        struct Part {
            std::vector<std::pair<std::string, std::string>> changed;  // name, bytes
            std::vector<std::string> removed;
        };
        static xds::Update update(std::string_view type_url, const Part& part);
        Part addresses_, policies_;
    };
    // Takes the file whole, or refuses it whole and changes nothing.
    base::Result<Change> change(std::string_view text, std::string_view name);

  private:
    using Bytes = std::map<std::string, std::string>;  // by resource name
    static Change::Part diff(Bytes& known, Bytes now);
    Bytes addresses_, policies_;
};

}  // namespace warren::node
