# Being written.
add_library(flashconvert_kernels INTERFACE)
