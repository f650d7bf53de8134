// SPDX-License-Identifier: Apache-2.0
// AddressAllocator: the virtual addresses of hosts of ServiceEntries that name none (Kubernetes contract 2.8), one of each family a host:
// with them applications resolve the name, and a connection's destination tells the mesh which service is meant. What an entry's status
// says stays, unless an older entry has the address too. A new one is searched from where the host's name points, so a status that was lost
// comes back as it was for as long as nobody has the address. Pure; one thread. Memory: the hosts and addresses of all entries.
#pragma once

#include "agent/cluster/kube_objects.h"
#include "base/ip.h"
#include "base/result.h"

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace warren::cluster {

struct AddressRanges {
    base::Cidr v4 = *base::Cidr::parse("240.240.0.0/16");
    base::Cidr v6 = *base::Cidr::parse("2001:2::/48");
};
// Of that family, and with room for hosts (at most /28 and /124).
[[nodiscard]] base::Result<void> check_range(const base::Cidr& range, bool v4);

class AddressAllocator {
  public:
    using Addresses = std::vector<std::pair<std::string, base::IpAddr>>;  // host, address: as status.addresses
    struct Assignment {
        std::string key, uid;  // of the entry
        Addresses addresses;   // all that its status is to say
        uint64_t version = 0;
    };

    explicit AddressAllocator(AddressRanges ranges) : ranges_(ranges) {}

    // As it was read; takes the place of what was known of it.
    void put(const ServiceEntry& entry);
    void remove(const std::string& key);
    void clear();
    // Entries, "NS/NAME", whose status does not say what it should.
    [[nodiscard]] const std::set<std::string>& lacking() const { return lacking_; }
    // For one of those. The addresses are taken from here on. An error when a range has no address left.
    base::Result<Assignment> assign(const std::string& key);
    // It was written. Nothing when the entry has changed since.
    void written(const Assignment& assignment);
    [[nodiscard]] size_t taken() const { return holders_.size(); }

  private:
    struct Entry {
        std::string uid;
        int64_t created_ns = 0;
        std::vector<std::string> hosts;  // that are to have addresses
        Addresses told;                  // by the status
        Addresses held;                  // here: in the order of hosts, IPv4 first
        uint64_t version = 0;
    };
    struct Holder {
        std::string key;
        bool told = false;  // by the status of that entry; else about to be
    };
    void claim(const std::string& key, Entry& entry, const std::string& host, base::IpAddr ip);
    void release(Entry& entry);
    base::Result<base::IpAddr> draw(const std::string& host_key, const base::Cidr& range) const;

    const AddressRanges ranges_;
    uint64_t versions_ = 0;
    std::unordered_map<std::string, Entry> entries_;  // that are to have addresses
    std::unordered_map<base::IpAddr, Holder> holders_;
    std::set<std::string> lacking_;
};

}  // namespace warren::cluster
