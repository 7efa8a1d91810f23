/* Loaded into flashconvert by LD_PRELOAD: runs the program many times without loading LibTorch (0.2 s) each time.
 *
 * Each line of standard input holds the arguments of one run, separated by tabs. The program's own main runs in a
 * process forked for it, so that a run that crashes takes nothing with it. The answer is one line: the wait status as a
 * number. The first line is run in this process instead, for what LibTorch sets up at its first use; the program's last
 * call, _Exit, then comes back here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int (*main_function)(int, char**, char**);
typedef int (*start_function)(main_function, int, char**, void (*)(void), void (*)(void), void (*)(void), void*);

enum { kMostArguments = 64, kMostSeconds = 120 };

static main_function program;
static jmp_buf after_warm_up;
static pid_t warming_up = 0; /* the process that is; its own children end as they always do */

void _Exit(int code) {
  if (warming_up == getpid()) longjmp(after_warm_up, 1);
  _exit(code);
}

static int run_here(char* line, char** environment) {
  static char* arguments[kMostArguments + 1];
  int count = 0;
  arguments[count++] = "flashconvert";
  for (char* word = strtok(line, "\t\n"); word != NULL && count < kMostArguments; word = strtok(NULL, "\t\n")) {
    arguments[count++] = word;
  }
  arguments[count] = NULL;
  return program(count, arguments, environment);
}

static int run_apart(char* line, char** environment) {
  const pid_t child = fork();
  if (child < 0) return -1;
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(kMostSeconds);
    _exit(run_here(line, environment));
  }
  int status = 0;
  return waitpid(child, &status, 0) == child ? status : -1;
}

static int serve(int argc, char** argv, char** environment) {
  (void)argc;
  (void)argv;
  static char* line = NULL;
  static size_t room = 0;
  if (getline(&line, &room, stdin) > 0 && setjmp(after_warm_up) == 0) {
    warming_up = getpid();
    run_here(line, environment);
  }
  warming_up = 0;
  while (getline(&line, &room, stdin) > 0) {
    printf("%d\n", run_apart(line, environment));
    fflush(stdout);
  }
  _exit(0);
}

int __libc_start_main(main_function main_of_program, int argc, char** argv, void (*init)(void), void (*fini)(void),
                      void (*loader_fini)(void), void* stack_end) {
  const start_function start = (start_function)dlsym(RTLD_NEXT, "__libc_start_main");
  program = main_of_program;
  return start(serve, argc, argv, init, fini, loader_fini, stack_end);
}
