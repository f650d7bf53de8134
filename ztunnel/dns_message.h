// SPDX-License-Identifier: Apache-2.0
// DNS messages as a proxy needs them (RFC 1035, EDNS of RFC 6891): queries of clients read, local answers written, answers of name servers
// checked and handed on. Sans-I/O; pure functions over borrowed bytes, any thread. No library of the platform fits: c-ares 1.18 reads
// answers of a few types only and writes none.
//
// Foreign bytes in, a value or a refusal out. Names are skipped, never followed: a question of a message cannot be compressed (nothing
// stands before it), and records are handed on as they are, so compression loops have nothing to loop in.
#pragma once

#include "base/ip.h"
#include "base/result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::ztunnel::dns {

using Bytes = std::span<const uint8_t>;

inline constexpr size_t kHeaderBytes = 12;
inline constexpr size_t kMaxMessage = 65'535;    // RFC 1035 4.2.2: the length before a TCP message has 16 bits
inline constexpr uint16_t kMinUdpPayload = 512;  // RFC 1035 4.2.1, and the least that EDNS may announce
inline constexpr uint16_t kPointerToQuestion = 0xc000 | kHeaderBytes;

inline constexpr uint16_t kTypeA = 1, kTypeCname = 5, kTypeSoa = 6, kTypeAaaa = 28, kTypeOpt = 41;
inline constexpr uint16_t kClassIn = 1;

enum class Rcode : uint8_t { NoError = 0, FormErr = 1, ServFail = 2, NxDomain = 3, NotImp = 4, Refused = 5 };
// "NOERROR"; "RCODE" for those without a name here.
[[nodiscard]] std::string_view to_string(Rcode rcode) noexcept;
// "a", "aaaa", "cname" ... as istio_dns_* metrics have it; "unknown" for all that a client may make up, which bounds the series.
[[nodiscard]] std::string_view type_label(uint16_t type) noexcept;

struct Edns {
    uint8_t version = 0;
    bool dnssec_ok = false;
    bool options = false;  // cookies, client subnets: the answer is for this client alone
    uint16_t payload = 0;  // of UDP, as announced
};

// One well-formed query. Borrows the bytes it was read from.
struct Query {
    uint16_t id = 0;
    uint16_t flags = 0;  // of the header, as sent
    Bytes question;      // name, type and class as sent; empty when it could not be read
    uint16_t type = 0;
    uint16_t klass = 0;
    std::optional<Edns> edns;

    // The name in lower case without the root dot; empty for the root, and for a name whose labels no text can show unambiguously (a dot,
    // a blank or a control character inside a label), which hence is no name of the mesh.
    [[nodiscard]] std::string host() const;
    // What a UDP answer may measure: max(512, announced).
    [[nodiscard]] size_t udp_limit() const;
};

struct Received {
    enum class Kind : uint8_t {
        Query,
        Refuse,  // answer write_status(query, rcode)
        Drop,    // not even an id to answer to
    };
    Kind kind = Kind::Drop;
    Query query;
    Rcode rcode = Rcode::NoError;
};
// Other opcodes than QUERY: NOTIMP. Responses, other than one question, answers, trailing bytes, two OPT records: FORMERR.
[[nodiscard]] Received read_query(Bytes message);

// ---- answers of our own: RA set, opcode and RD mirrored, EDNS mirrored (version, DO, payload)

struct LocalAnswer {
    std::string_view cname;  // not empty: the question is an alias of it, and the addresses stand there
    std::span<const base::IpAddr> addresses;
    uint32_t ttl = 30;
};
// Authoritative; what does not fit into `limit` bytes is left out and TC set. SERVFAIL for a cname that is no name.
[[nodiscard]] std::vector<uint8_t> write_answer(const Query& query, const LocalAnswer& answer, size_t limit);
// No records. Not authoritative.
[[nodiscard]] std::vector<uint8_t> write_status(const Query& query, Rcode rcode);

// ---- answers of name servers

struct Upstream {
    uint8_t rcode = 0;  // the four bits of the header
    bool truncated = false;
    bool bare = false;  // an error without a question: there is nothing to hand on but the code
    uint16_t answers = 0;
    // For how long it may be kept: the least TTL of its records; of a negative answer what its SOA allows (RFC 2308 5). 0: not at all.
    uint32_t ttl = 0;
};
// Whether it may be handed on as the answer to a query of this id and question (names compared without case).
[[nodiscard]] base::Result<Upstream> read_answer(Bytes message, uint16_t id, Bytes question);

// A message that read_answer() accepted (and that is not bare), as this client gets it: its id and question, AA off, RA on, TTLs lowered by
// `age_s`; what does not fit into `limit` is left out record by record, the OPT record kept, and TC set.
[[nodiscard]] std::vector<uint8_t> hand_on(Bytes message, const Query& query, size_t limit, uint32_t age_s = 0);

void set_id(std::span<uint8_t> message, uint16_t id);

// ---- TCP: each message behind its length (RFC 1035 4.2.2)

void append_framed(std::vector<uint8_t>& out, Bytes message);

// Messages out of a stream. A length above the limit, or below that of a header, spoils the stream for good.
class Deframer {
  public:
    explicit Deframer(size_t limit) : limit_(limit) {}
    void feed(Bytes bytes);
    // The next whole message, borrowed until the next call of feed().
    [[nodiscard]] std::optional<Bytes> next();
    [[nodiscard]] bool spoilt() const;
    // Bytes of a message that is not whole yet, or messages that next() has not given out.
    [[nodiscard]] size_t waiting() const { return buffer_.size() - at_; }

  private:
    size_t limit_;
    std::vector<uint8_t> buffer_;
    size_t at_ = 0;  // what next() has given out
};

}  // namespace warren::ztunnel::dns
