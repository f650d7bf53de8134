// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/mesh_file.h"

#include "tools/warren/dump_mesh.h"

#include <cerrno>
#include <fstream>
#include <iostream>
#include <iterator>

namespace warren::tools {

base::Result<std::string> read_text_file(const std::string& path) {
    std::string text;
    if (path == "-") {
        text.assign(std::istreambuf_iterator<char>(std::cin), {});
    } else {
        std::ifstream in(path, std::ios::binary);
        if (!in) return base::os_error("open", path);
        text.assign(std::istreambuf_iterator<char>(in), {});
        if (in.bad()) return base::os_error("read", path);
    }
    return text;
}

base::Result<std::shared_ptr<const policy::Snapshot>> load_mesh_file(const std::string& path) {
    policy::Mesh mesh;
    return mesh.apply(TRY(batch_of_text(TRY(read_text_file(path)), path, mesh.pool())));
}

base::Result<policy::WorkloadRef> find_workload(const policy::Snapshot& mesh, const std::string& named) {
    if (const policy::Workload* w = mesh.workload(named)) return policy::WorkloadRef(w);
    if (auto ip = base::IpAddr::parse(named)) {
        policy::WorkloadRef found;
        mesh.each_workload([&](const policy::Workload& w) {
            if (w.has_address(*ip)) found = policy::WorkloadRef(&w);
        });
        if (found) return found;
        return base::Error{base::Errc::NotFound, 0, "", "no workload has the address " + named};
    }
    policy::WorkloadRef found;
    std::string near;
    const size_t slash = named.find('/');
    const std::string name = slash == std::string::npos ? named : named.substr(slash + 1);
    mesh.each_workload([&](const policy::Workload& w) {
        if (w.name != name) return;
        if (slash != std::string::npos && w.ns == std::string_view(named).substr(0, slash)) found = policy::WorkloadRef(&w);
        near += (near.empty() ? "" : ", ") + w.ns.str() + '/' + w.name.str();
    });
    if (found) return found;
    std::string detail = "no workload " + named + "; name it by NAMESPACE/NAME, by uid or by address";
    if (!near.empty()) detail += "; of that name there is " + near;
    return base::Error{base::Errc::NotFound, 0, "", std::move(detail)};
}

}  // namespace warren::tools
