// Catch2 2.x wants one file with its main function; 3.x brings a library with it.
#if __has_include(<catch2/catch_all.hpp>)
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
