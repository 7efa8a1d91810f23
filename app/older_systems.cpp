// std::condition_variable::wait got a new version in GCC 12's libstdc++ (GLIBCXX_3.4.30), which is all that would keep
// the program from starting where libstdc++ is GCC 11's, as on RHEL 9. So it has its own, hidden from LibTorch.
#include <pthread.h>

#include <condition_variable>
#include <mutex>

namespace flashconvert::app {

extern "C" [[gnu::visibility("hidden")]] void flashconvert_condition_wait(
    std::condition_variable* condition,
    std::unique_lock<std::mutex>& lock) asm("_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE");

void flashconvert_condition_wait(std::condition_variable* condition, std::unique_lock<std::mutex>& lock) {
  ::pthread_cond_wait(condition->native_handle(), lock.mutex()->native_handle());
}

}  // namespace flashconvert::app
