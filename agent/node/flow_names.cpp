// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_names.h"

#include <cctype>
#include <map>
#include <string>

namespace warren::node {
namespace {

namespace v1 = flow::v1;

// Built once from the schema, so a new enumerator has its word without a line here.
std::map<int, std::string> words(const google::protobuf::EnumDescriptor& all, size_t prefix) {
    std::map<int, std::string> made;
    for (int i = 0; i < all.value_count(); ++i) {
        std::string word = all.value(i)->name().substr(prefix);
        for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        made[all.value(i)->number()] = std::move(word);
    }
    return made;
}

std::string_view find(const std::map<int, std::string>& words, int number) {
    const auto found = words.find(number);
    return found != words.end() ? std::string_view(found->second) : "unspecified";
}

}  // namespace

std::string_view name_of(v1::Direction direction) {
    static const auto kWords = words(*v1::Direction_descriptor(), sizeof "DIRECTION_" - 1);
    return find(kWords, direction);
}
std::string_view name_of(v1::Path path) {
    static const auto kWords = words(*v1::Path_descriptor(), sizeof "PATH_" - 1);
    return find(kWords, path);
}
std::string_view name_of(v1::Verdict verdict) {
    static const auto kWords = words(*v1::Verdict_descriptor(), sizeof "VERDICT_" - 1);
    return find(kWords, verdict);
}
std::string_view name_of(v1::IdentityProof proof) {
    static const auto kWords = words(*v1::IdentityProof_descriptor(), sizeof "IDENTITY_PROOF_" - 1);
    return find(kWords, proof);
}
std::string_view name_of(v1::CloseReason reason) {
    static const auto kWords = words(*v1::CloseReason_descriptor(), sizeof "CLOSE_REASON_" - 1);
    return find(kWords, reason);
}

}  // namespace warren::node
