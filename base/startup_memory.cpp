// SPDX-License-Identifier: Apache-2.0
#include "base/startup_memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>

namespace warren::base {
namespace {

// A relocated page of text differs from its file: to drop it would lose the relocation.
bool has_text_relocations(const dl_phdr_info& object) {
    for (unsigned i = 0; i < object.dlpi_phnum; ++i) {
        const auto& header = object.dlpi_phdr[i];
        if (header.p_type != PT_DYNAMIC) continue;
        const auto* entry = reinterpret_cast<const ElfW(Dyn)*>(object.dlpi_addr + header.p_vaddr);
        for (; entry->d_tag != DT_NULL; ++entry) {
            if (entry->d_tag == DT_TEXTREL) return true;
            if (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0) return true;
        }
    }
    return false;
}

int release(dl_phdr_info* object, size_t, void* context) {
    // The vDSO is no file.
    if (object->dlpi_name == nullptr || std::string_view(object->dlpi_name).find("vdso") != std::string_view::npos) return 0;
    if (has_text_relocations(*object)) return 0;
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    auto& released = *static_cast<size_t*>(context);
    for (unsigned i = 0; i < object->dlpi_phnum; ++i) {
        const auto& header = object->dlpi_phdr[i];
        if (header.p_type != PT_LOAD || (header.p_flags & PF_W) != 0) continue;
        // Whole pages of this segment only: the ones at its ends may be shared with a writable neighbour.
        const uintptr_t begin = (object->dlpi_addr + header.p_vaddr + page - 1) & ~(page - 1);
        const uintptr_t end = (object->dlpi_addr + header.p_vaddr + header.p_filesz) & ~(page - 1);
        if (end > begin && ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED) == 0) released += end - begin;
    }
    return 0;
}

}  // namespace

size_t release_startup_memory() {
    (void)::malloc_trim(0);
    size_t released = 0;
    (void)::dl_iterate_phdr(&release, &released);
    return released;
}

void keep_large_blocks_apart() {
    (void)::mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)::mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

}  // namespace warren::base
