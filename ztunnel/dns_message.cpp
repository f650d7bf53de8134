// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_message.h"

#include "base/bytes.h"

#include <algorithm>
#include <array>
#include <utility>

namespace warren::ztunnel::dns {

namespace {

constexpr uint16_t kQr = 0x8000, kOpcode = 0x7800, kAa = 0x0400, kTc = 0x0200, kRd = 0x0100, kRa = 0x0080, kCd = 0x0010, kRcode = 0x000f;
constexpr uint32_t kDo = 0x8000;                  // in the TTL field of an OPT record
constexpr size_t kMaxName = 255, kMaxLabel = 63;  // RFC 1035 2.3.4
constexpr size_t kOptBytes = 11;                  // without options
constexpr uint32_t kMaxTtl = 0x7fff'ffff;         // above: zero (RFC 2181 8)
constexpr size_t kSoaNumbers = 20;                // the five at the end of its data, after two names

uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c + ('a' - 'A')) : c; }

struct Header {
    uint16_t id = 0, flags = 0, questions = 0, answers = 0, authorities = 0, additionals = 0;
    [[nodiscard]] size_t records() const { return size_t{answers} + authorities + additionals; }
};

std::optional<Header> read_header(base::ByteReader& in) {
    if (in.remaining() < kHeaderBytes) return std::nullopt;
    Header h;
    for (uint16_t* field : {&h.id, &h.flags, &h.questions, &h.answers, &h.authorities, &h.additionals}) *field = *in.u16();
    return h;
}

// A name that stands whole where it is.
bool skip_plain_name(base::ByteReader& in) {
    const size_t start = in.position();
    for (;;) {
        const auto length = in.u8();
        if (!length || *length > kMaxLabel || !in.take(*length) || in.position() - start > kMaxName) return false;
        if (*length == 0) return true;
    }
}

// A name that may end in a pointer, which must point back.
bool skip_name(base::ByteReader& in) {
    const size_t start = in.position();
    for (;;) {
        const auto length = in.u8();
        if (!length) return false;
        if (*length >= 0xc0) {
            const auto low = in.u8();
            if (!low) return false;
            const size_t target = size_t{*length & 0x3fu} << 8 | *low;
            return target >= kHeaderBytes && target < start;
        }
        if (*length > kMaxLabel || !in.take(*length) || in.position() - start > kMaxName) return false;
        if (*length == 0) return true;
    }
}

struct Question {
    Bytes bytes;
    uint16_t type = 0, klass = 0;
};

std::optional<Question> read_question(base::ByteReader& in) {
    const Bytes all = in.rest();
    const size_t start = in.position();
    if (!skip_plain_name(in)) return std::nullopt;
    const auto type = in.u16(), klass = in.u16();
    if (!type || !klass) return std::nullopt;
    return Question{all.first(in.position() - start), *type, *klass};
}

struct Record {
    size_t start = 0, ttl_at = 0, end = 0;
    uint16_t type = 0, klass = 0;
    uint32_t ttl = 0;
    Bytes data;
    bool root = false;  // its name is the root, written as one zero byte
};

std::optional<Record> read_record(base::ByteReader& in) {
    Record r;
    r.start = in.position();
    r.root = !in.empty() && in.rest()[0] == 0;
    if (!skip_name(in)) return std::nullopt;
    const auto type = in.u16(), klass = in.u16();
    r.ttl_at = in.position();
    const auto ttl = in.u32();
    const auto length = in.u16();
    if (!type || !klass || !ttl || !length) return std::nullopt;
    const auto data = in.take(*length);
    if (!data) return std::nullopt;
    r.type = *type, r.klass = *klass, r.ttl = *ttl, r.data = *data, r.end = in.position();
    return r;
}

Edns edns_of(const Record& opt) { return {static_cast<uint8_t>(opt.ttl >> 16 & 0xff), (opt.ttl & kDo) != 0, !opt.data.empty(), opt.klass}; }

bool same_question(Bytes a, Bytes b) {
    if (a.size() != b.size()) return false;
    // Type and class hold no letters' case to forgive.
    const size_t name = a.size() - std::min<size_t>(a.size(), 4);
    return std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(name), b.begin(),
                      [](uint8_t x, uint8_t y) { return lower(x) == lower(y); }) &&
           std::equal(a.begin() + static_cast<std::ptrdiff_t>(name), a.end(), b.begin() + static_cast<std::ptrdiff_t>(name));
}

// A message under construction: header, question, records up to a limit that leaves room for the OPT record.
class Builder {
  public:
    Builder(const Query& query, uint16_t flags, size_t limit) : query_(query), limit_(limit) {
        out_.reserve(std::min<size_t>(limit, kMinUdpPayload));
        put16(query.id);
        put16(static_cast<uint16_t>(kQr | kRa | (query.flags & (kOpcode | kRd | kCd)) | flags));
        for (const unsigned count : {query.question.empty() ? 0u : 1u, 0u, 0u, query.edns ? 1u : 0u}) put16(static_cast<uint16_t>(count));
        out_.insert(out_.end(), query.question.begin(), query.question.end());
    }
    void put16(uint16_t v) { out_.push_back(static_cast<uint8_t>(v >> 8)), out_.push_back(static_cast<uint8_t>(v)); }
    void put32(uint32_t v) { put16(static_cast<uint16_t>(v >> 16)), put16(static_cast<uint16_t>(v)); }

    // False: it does not fit, and TC is set.
    bool record(uint16_t name, uint16_t type, uint32_t ttl, Bytes data) {
        const size_t reserved = query_.edns ? kOptBytes : 0;
        if (out_.size() + 12 + data.size() + reserved > limit_ || count_ == 0xffff) {
            out_[2] |= kTc >> 8;
            return false;
        }
        put16(name), put16(type), put16(kClassIn), put32(ttl), put16(static_cast<uint16_t>(data.size()));
        out_.insert(out_.end(), data.begin(), data.end());
        ++count_;
        base::store_be<uint16_t>(std::span(out_).subspan<6, 2>(), count_);
        return true;
    }
    std::vector<uint8_t> finish() {
        if (query_.edns) {
            out_.push_back(0);
            put16(kTypeOpt);
            put16(std::max(kMinUdpPayload, query_.edns->payload));
            put32(uint32_t{query_.edns->version} << 16 | (query_.edns->dnssec_ok ? kDo : 0));
            put16(0);
        }
        return std::move(out_);
    }
    [[nodiscard]] size_t size() const { return out_.size(); }

  private:
    const Query& query_;
    size_t limit_;
    uint16_t count_ = 0;
    std::vector<uint8_t> out_;
};

// Text to labels; empty when it is no name.
std::vector<uint8_t> wire_name(std::string_view text) {
    std::vector<uint8_t> out;
    while (!text.empty()) {
        const std::string_view label = text.substr(0, text.find('.'));
        if (label.empty() || label.size() > kMaxLabel) return {};
        out.push_back(static_cast<uint8_t>(label.size()));
        out.insert(out.end(), label.begin(), label.end());
        text.remove_prefix(std::min(text.size(), label.size() + 1));
    }
    out.push_back(0);
    return out.size() <= kMaxName ? out : std::vector<uint8_t>{};
}

}  // namespace

std::string_view to_string(Rcode rcode) noexcept {
    constexpr std::string_view names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    const auto i = static_cast<size_t>(rcode);
    return i < std::size(names) ? names[i] : "RCODE";
}

std::string_view type_label(uint16_t type) noexcept {
    static constexpr std::pair<uint16_t, std::string_view> kLabels[] = {
        {1, "a"},     {2, "ns"},     {5, "cname"},  {6, "soa"},    {12, "ptr"},   {13, "hinfo"}, {15, "mx"},     {16, "txt"},
        {28, "aaaa"}, {33, "srv"},   {35, "naptr"}, {43, "ds"},    {46, "rrsig"}, {47, "nsec"},  {48, "dnskey"}, {52, "tlsa"},
        {64, "svcb"}, {65, "https"}, {251, "ixfr"}, {252, "axfr"}, {255, "any"},  {257, "caa"},
    };
    for (const auto& [number, label] : kLabels)
        if (number == type) return label;
    return "unknown";
}

std::string Query::host() const {
    std::string out;
    for (size_t at = 0; at < question.size() && question[at] != 0;) {
        const Bytes label = question.subspan(at + 1, question[at]);
        if (!out.empty()) out.push_back('.');
        for (const uint8_t c : label) {
            if (c <= ' ' || c == '.' || c >= 0x7f) return {};
            out.push_back(static_cast<char>(lower(c)));
        }
        at += 1 + label.size();
    }
    return out;
}

size_t Query::udp_limit() const { return edns ? std::max(kMinUdpPayload, edns->payload) : kMinUdpPayload; }

Received read_query(Bytes message) {
    Received r;
    base::ByteReader in(message);
    const auto header = read_header(in);
    if (!header) return r;
    Query& q = r.query;
    q.id = header->id;
    q.flags = header->flags;
    auto refuse = [&](Rcode rcode) {
        r.kind = Received::Kind::Refuse;
        r.rcode = rcode;
        return r;
    };
    if ((header->flags & kQr) != 0) return refuse(Rcode::FormErr);
    const bool plain = header->questions == 1;
    if (plain) {
        if (const auto question = read_question(in)) q.question = question->bytes, q.type = question->type, q.klass = question->klass;
    }
    if ((header->flags & kOpcode) != 0) return refuse(Rcode::NotImp);
    if (q.question.empty() || header->answers != 0) return refuse(Rcode::FormErr);
    for (size_t i = 0; i < header->records(); ++i) {
        const auto record = read_record(in);
        if (!record) return refuse(Rcode::FormErr);
        if (record->type != kTypeOpt) continue;
        if (q.edns || !record->root || i < header->authorities) return refuse(Rcode::FormErr);
        q.edns = edns_of(*record);
    }
    if (!in.empty()) return refuse(Rcode::FormErr);
    r.kind = Received::Kind::Query;
    return r;
}

std::vector<uint8_t> write_answer(const Query& query, const LocalAnswer& answer, size_t limit) {
    Builder out(query, kAa, limit);
    uint16_t owner = kPointerToQuestion;
    if (!answer.cname.empty()) {
        const std::vector<uint8_t> target = wire_name(answer.cname);
        if (target.empty()) return write_status(query, Rcode::ServFail);
        const size_t data_at = out.size() + 12;  // question plus record head: far below the 14 bits of a pointer
        if (!out.record(owner, kTypeCname, answer.ttl, target)) return out.finish();
        owner = static_cast<uint16_t>(0xc000 | data_at);
    }
    for (const base::IpAddr ip : answer.addresses) {
        std::array<uint8_t, 16> bytes{};
        const size_t n = ip.to_bytes(bytes);
        if (!out.record(owner, n == 4 ? kTypeA : kTypeAaaa, answer.ttl, Bytes(bytes).first(n))) break;
    }
    return out.finish();
}

std::vector<uint8_t> write_status(const Query& query, Rcode rcode) {
    return Builder(query, static_cast<uint16_t>(rcode), kMaxMessage).finish();
}

base::Result<Upstream> read_answer(Bytes message, uint16_t id, Bytes question) {
    auto bad = [](const char* why) { return base::Error{base::Errc::Protocol, 0, "answer of a name server", why}; };
    base::ByteReader in(message);
    const auto header = read_header(in);
    if (!header) return bad("shorter than a header");
    if (header->id != id) return bad("another id");
    if ((header->flags & kQr) == 0 || (header->flags & kOpcode) != 0) return bad("not an answer to a query");
    Upstream u;
    u.rcode = static_cast<uint8_t>(header->flags & kRcode);
    u.truncated = (header->flags & kTc) != 0;
    u.answers = header->answers;
    if (header->questions == 0 && u.rcode != 0 && header->records() == 0 && in.empty()) {
        u.bare = true;
        return u;
    }
    if (header->questions != 1) return bad("not one question");
    const auto asked = read_question(in);
    if (!asked || !same_question(asked->bytes, question)) return bad("another question");
    // A truncated message may end anywhere (RFC 2181 9): it is asked for again over TCP, and not kept.
    if (u.truncated) return u;
    uint32_t least = kMaxTtl;
    std::optional<uint32_t> soa;
    for (size_t i = 0; i < header->records(); ++i) {
        const auto record = read_record(in);
        if (!record) return bad("a record that does not fit");
        if (record->type == kTypeOpt) continue;
        const uint32_t ttl = record->ttl > kMaxTtl ? 0 : record->ttl;
        least = std::min(least, ttl);
        const bool authority = i >= header->answers && i < size_t{header->answers} + header->authorities;
        if (authority && record->type == kTypeSoa && record->data.size() > kSoaNumbers)
            soa = std::min(ttl, base::load_be<uint32_t>(record->data.last<4>()));
    }
    if (!in.empty()) return bad("bytes behind the last record");
    const bool positive = u.rcode == static_cast<uint8_t>(Rcode::NoError) && u.answers != 0;
    const bool negative = u.rcode == static_cast<uint8_t>(Rcode::NoError) || u.rcode == static_cast<uint8_t>(Rcode::NxDomain);
    if (soa && negative) u.ttl = std::min(*soa, least);
    if (!soa && positive) u.ttl = least;
    return u;
}

std::vector<uint8_t> hand_on(Bytes message, const Query& query, size_t limit, uint32_t age_s) {
    base::ByteReader in(message);
    const auto header = read_header(in);
    if (!header || !in.take(query.question.size())) return write_status(query, Rcode::ServFail);
    std::vector<uint8_t> out(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(in.position()));
    std::copy(query.question.begin(), query.question.end(), out.begin() + kHeaderBytes);
    std::vector<Record> records;
    size_t opt = header->records();
    for (size_t i = 0; i < header->records(); ++i) {
        const auto record = read_record(in);
        if (!record) return write_status(query, Rcode::ServFail);
        if (record->type == kTypeOpt) opt = i;
        records.push_back(*record);
    }
    auto append = [&](const Record& r) {
        const size_t at = out.size();
        const Bytes bytes = message.subspan(r.start, r.end - r.start);
        out.insert(out.end(), bytes.begin(), bytes.end());
        if (r.type != kTypeOpt)
            base::store_be<uint32_t>(std::span(out).subspan(at + (r.ttl_at - r.start)).first<4>(), r.ttl - std::min(r.ttl, age_s));
    };
    const size_t opt_bytes = opt < records.size() ? records[opt].end - records[opt].start : 0;
    // Records keep their places, so that pointers into those that stay remain true: only a tail is ever cut.
    std::array<uint16_t, 3> counts{};
    const size_t ends[] = {header->answers, size_t{header->answers} + header->authorities};
    bool cut = false, opt_done = opt == records.size();
    for (size_t i = 0; i < records.size() && !cut; ++i) {
        const Record& r = records[i];
        cut = out.size() + (r.end - r.start) + (opt_done || i == opt ? 0 : opt_bytes) > limit;
        if (cut) break;
        append(r);
        opt_done = opt_done || i == opt;
        ++counts[i < ends[0] ? 0 : i < ends[1] ? 1 : 2];
    }
    if (cut && !opt_done && out.size() + opt_bytes <= limit) append(records[opt]), ++counts[2];
    auto flags = static_cast<uint16_t>((header->flags & ~kAa) | kRa | kQr);
    if (cut) flags |= kTc;
    const std::span<uint8_t> head(out);
    set_id(head, query.id);
    base::store_be<uint16_t>(head.subspan<2, 2>(), flags);
    base::store_be<uint16_t>(head.subspan<6, 2>(), counts[0]);
    base::store_be<uint16_t>(head.subspan<8, 2>(), counts[1]);
    base::store_be<uint16_t>(head.subspan<10, 2>(), counts[2]);
    return out;
}

void set_id(std::span<uint8_t> message, uint16_t id) {
    if (message.size() >= 2) base::store_be<uint16_t>(message.first<2>(), id);
}

void append_framed(std::vector<uint8_t>& out, Bytes message) {
    out.push_back(static_cast<uint8_t>(message.size() >> 8));
    out.push_back(static_cast<uint8_t>(message.size()));
    out.insert(out.end(), message.begin(), message.end());
}

void Deframer::feed(Bytes bytes) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ = 0;
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

bool Deframer::spoilt() const {
    if (waiting() < 2) return false;
    const size_t length = base::load_be<uint16_t>(Bytes(buffer_).subspan(at_).first<2>());
    return length < kHeaderBytes || length > limit_;
}

std::optional<Bytes> Deframer::next() {
    if (waiting() < 2 || spoilt()) return std::nullopt;
    const Bytes rest = Bytes(buffer_).subspan(at_);
    const size_t length = base::load_be<uint16_t>(rest.first<2>());
    if (rest.size() < 2 + length) return std::nullopt;
    at_ += 2 + length;
    return rest.subspan(2, length);
}

}  // namespace warren::ztunnel::dns
