# SPDX-License-Identifier: Apache-2.0
# warren_library(NAME SOURCES ... PUBLIC ... PRIVATE ...): a static library warren::NAME, included by full paths from the root.
function(warren_library name)
  cmake_parse_arguments(A "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(warren_${name} STATIC ${A_SOURCES})
  add_library(warren::${name} ALIAS warren_${name})
  target_include_directories(warren_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(warren_${name} PUBLIC ${A_PUBLIC} PRIVATE ${A_PRIVATE})
  warren_warnings(warren_${name})
endfunction()

# warren_program(NAME SOURCES ... LINK ...): a program in bin/.
function(warren_program name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE WARREN_VERSION="${PROJECT_VERSION}")
  target_link_libraries(${name} PRIVATE ${A_LINK})
  warren_warnings(${name})
endfunction()
