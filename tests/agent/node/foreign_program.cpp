// SPDX-License-Identifier: Apache-2.0
#include "tests/agent/node/foreign_program.h"

#include "tests/catch.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <cstddef>
#include <vector>

namespace warren::tests {

base::Fd foreign_connect4(uint16_t from_port, uint16_t to_port, uint32_t to_address) {
    const auto be = [](uint16_t port) { return static_cast<int32_t>(htons(port)); };
    constexpr auto kPort = static_cast<int16_t>(offsetof(bpf_sock_addr, user_port));
    constexpr auto kAddress = static_cast<int16_t>(offsetof(bpf_sock_addr, user_ip4));
    const auto move = [](uint8_t to, int32_t value) {
        return bpf_insn{
            .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = static_cast<uint8_t>(to & 0xf), .src_reg = 0, .off = 0, .imm = value};
    };
    const auto store = [](int16_t at) {
        return bpf_insn{.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 1, .src_reg = 3, .off = at, .imm = 0};
    };
    const int16_t skip = to_address != 0 ? 4 : 2;
    std::vector<bpf_insn> code = {
        bpf_insn{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = kPort, .imm = 0},
        bpf_insn{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 2, .src_reg = 0, .off = skip, .imm = be(from_port)},
        move(3, be(to_port)),
        store(kPort),
    };
    if (to_address != 0) code.insert(code.end(), {move(3, static_cast<int32_t>(to_address)), store(kAddress)});
    code.insert(code.end(), {move(0, 1), bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}});
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    options.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
    base::Fd program(::bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "foreign_conn4", "GPL", code.data(), code.size(), &options));
    REQUIRE(program);
    return program;
}

}  // namespace warren::tests
