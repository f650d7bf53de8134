// SPDX-License-Identifier: Apache-2.0
// DNS messages as queries of clients and as answers of name servers. What is accepted can be answered within the limit and read again; what
// is handed on keeps its question; frames come out as they went in.
#include "ztunnel/dns_message.h"

#include <array>
#include <cstdlib>

using namespace warren;
using namespace warren::ztunnel;

namespace {

void require(bool fact) {
    if (!fact) std::abort();
}

void as_query(dns::Bytes message) {
    const auto received = dns::read_query(message);
    const dns::Query& query = received.query;
    if (received.kind == dns::Received::Kind::Drop) return;
    const auto status = dns::write_status(query, dns::Rcode::ServFail);
    require(status.size() <= 512);
    if (received.kind != dns::Received::Kind::Query) return;
    const std::string host = query.host();
    require(host.size() <= 253);
    const std::array<base::IpAddr, 40> ips{};
    for (const size_t limit : {query.udp_limit(), dns::kMaxMessage}) {
        const auto answer = dns::write_answer(query, {host, ips}, limit);
        require(answer.size() <= limit);
        const auto read = dns::read_answer(answer, query.id, query.question);
        require(read.has_value() && read->rcode == 0);
        require(dns::hand_on(answer, query, 512).size() <= 512);
    }
}

void as_answer(dns::Bytes message) {
    if (message.size() < dns::kHeaderBytes) return;
    // The message's own question, so that most inputs come past the check of it.
    const auto id = static_cast<uint16_t>(message[0] << 8 | message[1]);
    size_t end = dns::kHeaderBytes;
    while (end < message.size() && message[end] != 0 && message[end] < 64) end += message[end] + 1u;
    if (end + 5 > message.size()) return;
    dns::Query query;
    query.question = message.subspan(dns::kHeaderBytes, end + 5 - dns::kHeaderBytes);
    if (query.question.size() > 259) return;
    const auto read = dns::read_answer(message, id, query.question);
    if (!read || read->bare) return;
    const auto whole = dns::hand_on(message, query, dns::kMaxMessage, 10);
    require(whole.size() <= dns::kMaxMessage);
    const auto again = dns::read_answer(whole, query.id, query.question);
    require(again.has_value());
    if (!read->truncated) require(whole.size() == message.size() && again->answers == read->answers);
    const auto cut = dns::hand_on(message, query, 512);
    require(cut.size() <= 512 && dns::read_answer(cut, query.id, query.question).has_value());
}

void as_stream(dns::Bytes bytes) {
    dns::Deframer in(300);
    std::vector<uint8_t> out;
    for (size_t at = 0; at < bytes.size() && !in.spoilt(); at += 7) {
        in.feed(bytes.subspan(at, std::min<size_t>(7, bytes.size() - at)));
        while (const auto message = in.next()) dns::append_framed(out, *message);
    }
    require(out.size() <= bytes.size() && std::equal(out.begin(), out.end(), bytes.begin()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const dns::Bytes bytes(data, size);
    as_query(bytes);
    as_answer(bytes);
    as_stream(bytes);
    return 0;
}
