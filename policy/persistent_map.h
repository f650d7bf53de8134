// SPDX-License-Identifier: Apache-2.0
// PersistentMap: a hash array mapped trie with value semantics. Copying is one reference count; a change copies only the nodes on its
// path that somebody else still shares, so bulk loading edits in place and a published copy never moves.
#pragma once

#include <cstddef>
#include <functional>

namespace warren::policy {

template <class Key, class Value, class Hash = std::hash<Key>>
class PersistentMap;

}  // namespace warren::policy
