# flashconvert_warnings: an interface target that every C++ target of the project links.
add_library(flashconvert_warnings INTERFACE)
target_compile_options(
  flashconvert_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wno-missing-field-initializers>)
if(FLASHCONVERT_WARNINGS_AS_ERRORS)
  target_compile_options(flashconvert_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
