# SPDX-License-Identifier: Apache-2.0
# Sanitizers are a property of the whole build: one half instrumented reports nonsense.
if(WARREN_SANITIZE)
  add_compile_options(-fsanitize=${WARREN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${WARREN_SANITIZE})
endif()
if(WARREN_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
