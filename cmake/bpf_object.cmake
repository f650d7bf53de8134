# SPDX-License-Identifier: Apache-2.0
# warren_bpf_object(NAME OUTPUT SOURCES ...): compiles each source for the kernel's machine and links them into one object, OUTPUT.
# Maps are weak definitions of one header, which the static linker folds into one. One pinned clang; a warning is an error; the object
# carries the types (BTF) by which it fits itself to the kernel it is loaded into, and no DWARF.
function(warren_bpf_object name)
  cmake_parse_arguments(A "" "OUTPUT" "SOURCES" ${ARGN})
  find_program(WARREN_BPF_CLANG clang-19 REQUIRED)
  find_program(WARREN_BPF_STRIP llvm-strip-19 REQUIRED)
  find_program(WARREN_BPFTOOL bpftool PATHS /usr/sbin /sbin REQUIRED)
  # The kernel's user-space headers need the machine's asm/ folder, which the bpf target does not search.
  set(machine ${CMAKE_C_LIBRARY_ARCHITECTURE})
  get_filename_component(folder ${A_OUTPUT} DIRECTORY)
  set(objects)
  foreach(source ${A_SOURCES})
    get_filename_component(base ${source} NAME_WLE)
    set(object ${folder}/${base}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
      COMMAND ${WARREN_BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Wshadow -Werror
        -I${CMAKE_SOURCE_DIR} -idirafter /usr/include/${machine} -MD -MF ${object}.d -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
      COMMAND ${WARREN_BPF_STRIP} -g ${object}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} DEPFILE ${object}.d
      COMMENT "BPF ${source}" VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  add_custom_command(OUTPUT ${A_OUTPUT}
    COMMAND ${WARREN_BPFTOOL} gen object ${A_OUTPUT} ${objects}
    DEPENDS ${objects} COMMENT "BPF link ${A_OUTPUT}" VERBATIM)
  add_custom_target(${name} ALL DEPENDS ${A_OUTPUT})
  set_target_properties(${name} PROPERTIES WARREN_BPF_OBJECT ${A_OUTPUT})
endfunction()
