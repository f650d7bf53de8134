// SPDX-License-Identifier: Apache-2.0
// Kubernetes objects from text: YAML with any number of documents, JSON, and lists of objects in either (kind: List, PodList, ...).
//
// Objects in files have not been through an API server, so the defaults it would have filled in are filled in here (namespace, target
// ports, IP families, account). A document may also be the plain list of workloads ("workloads:"). Kinds that the mesh does not need are
// passed over and counted. An object with a problem is dropped and reported; the others are kept. No I/O and no thread affinity; one
// reader, one thread.
#pragma once

#include "agent/cluster/diagnostics.h"
#include "agent/cluster/kube_objects.h"

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

namespace warren::policy {
class Node;
}

namespace warren::cluster {

class FieldMap;

class ObjectReader {
  public:
    // name: how errors call the text, usually a file name.
    void add(std::string_view text, std::string_view name);
    // One object of an API server, as JSON. name: "KIND NS/NAME"; there are no lines to name.
    void add_json(std::string_view text, std::string_view name);

    [[nodiscard]] Objects& objects() { return objects_; }
    [[nodiscard]] Diagnostics& problems() { return problems_; }
    [[nodiscard]] const std::map<std::string, size_t>& passed_over() const { return passed_over_; }  // by kind

  private:
    struct ListOf {  // what an element of a list may leave out
        bool inside = false;
        std::string version, kind;
    };
    void add_document(policy::Node root);
    void add_object(policy::Node node, const ListOf& list);
    void add_workloads(policy::Node document);
    bool is_first(const FieldMap& object, const FieldMap& meta, const std::string& kind);

    Objects objects_;
    Diagnostics problems_;
    std::map<std::string, size_t> passed_over_;
    std::unordered_map<std::string, std::string> seen_;  // "KIND NS/NAME" -> where
};

}  // namespace warren::cluster
