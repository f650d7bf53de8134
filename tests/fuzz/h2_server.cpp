// SPDX-License-Identifier: Apache-2.0
// Bytes of a hostile client: 1 byte count of actions, actions, then what it sends, preface included.
#include "tests/fuzz/h2_script.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren::ztunnel;
    H2Settings settings;
    settings.max_header_list = 2048;
    settings.max_concurrent_streams = 5;
    settings.stream_window = 65'535;
    settings.connection_window = 65'535;
    h2test::Script(H2Role::Server, {data, size}, settings).run();
    return 0;
}
