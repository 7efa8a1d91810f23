// What libstdc++ and glibc got after the versions that manylinux_2_28 allows (GLIBCXX_3.4.24, GLIBC_2.28) and this
// library calls, defined here so that older systems can load it. Hidden (exports.map): no other library sees them.
#include <new>
#include <sstream>

// GLIBCXX_3.4.26: the default constructors, whose bodies stand in the header.
template std::basic_ostringstream<char>::basic_ostringstream();
template std::basic_stringstream<char>::basic_stringstream();

// GLIBCXX_3.4.29: what `new T[n]` calls when n elements cannot be counted in bytes.
namespace std {
void __throw_bad_array_new_length() { throw bad_array_new_length(); }
}  // namespace std

// GLIBC_2.32: whether libstdc++'s shared pointers may count without atomic instructions. They may not, here.
extern "C" {
// Newer headers declare it as well, without the visibility. NOLINTNEXTLINE(readability-redundant-declaration)
__attribute__((visibility("hidden"))) extern char __libc_single_threaded;
char __libc_single_threaded = 0;
}
