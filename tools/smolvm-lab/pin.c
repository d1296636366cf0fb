/* Keeps the virtual CPUs of microVMs on one CPU of the lab's guest.
 *
 * Preloaded in the guest only: QEMU's emulation of SVM fails when two CPUs run nested guests at
 * once. The threads are known by the name that libkrun gives them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void pin(const char *name) {
    if (name && strncmp(name, "fc_vcpu", 7) == 0) {
        cpu_set_t first;
        CPU_ZERO(&first);
        CPU_SET(0, &first);
        sched_setaffinity(0, sizeof first, &first);
    }
}

int pthread_setname_np(pthread_t thread, const char *name) {
    int (*real)(pthread_t, const char *) = dlsym(RTLD_NEXT, "pthread_setname_np");
    pin(name);
    return real(thread, name);
}

int prctl(int option, ...) {
    unsigned long x[4];
    va_list arguments;
    va_start(arguments, option);
    for (int i = 0; i < 4; i++)
        x[i] = va_arg(arguments, unsigned long);
    va_end(arguments);
    if (option == PR_SET_NAME)
        pin((const char *)x[0]);
    return syscall(SYS_prctl, option, x[0], x[1], x[2], x[3]);
}
