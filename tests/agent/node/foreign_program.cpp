// SPDX-License-Identifier: Apache-2.0
#include "tests/agent/node/foreign_program.h"

#include "tests/catch.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <array>
#include <cstddef>

namespace warren::tests {

base::Fd foreign_connect4(uint16_t from_port, uint16_t to_port) {
    const auto be = [](uint16_t port) { return static_cast<int32_t>(htons(port)); };
    constexpr auto kPort = static_cast<int16_t>(offsetof(bpf_sock_addr, user_port));
    const std::array<bpf_insn, 6> code = {
        bpf_insn{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = kPort, .imm = 0},
        bpf_insn{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 2, .src_reg = 0, .off = 2, .imm = be(from_port)},
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .src_reg = 0, .off = 0, .imm = be(to_port)},
        bpf_insn{.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 1, .src_reg = 3, .off = kPort, .imm = 0},
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
        bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
    };
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    options.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
    base::Fd program(::bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "foreign_conn4", "GPL", code.data(), code.size(), &options));
    REQUIRE(program);
    return program;
}

}  // namespace warren::tests
