// SPDX-License-Identifier: Apache-2.0
// Preloaded into a daemon: its wall clock is the machine's plus the nanoseconds in the file WARREN_SHIFTED_CLOCK, which may change at any
// time. No namespace of Linux has a CLOCK_REALTIME of its own, and the machine's own clock is not a test's to set. Waits until a wall time
// are put back onto the machine's clock, so that a jump does here what the kernel does with them there.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t* shift;
static int (*real_gettime)(clockid_t, struct timespec*);
static int (*real_timedwait)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*);
static long (*real_syscall)(long, long, long, long, long, long, long);

__attribute__((constructor)) static void start(void) {
    real_gettime = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
    real_timedwait = (int (*)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*))dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    real_syscall = (long (*)(long, long, long, long, long, long, long))dlsym(RTLD_NEXT, "syscall");
    const char* path = getenv("WARREN_SHIFTED_CLOCK");
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void* at = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) shift = at;
    close(fd);
}

static struct timespec moved(struct timespec t, int64_t by) {
    const int64_t ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec + by;
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

int clock_gettime(clockid_t id, struct timespec* out) {
    if (!real_gettime) return (int)syscall(SYS_clock_gettime, id, out);
    const int done = real_gettime(id, out);
    if (done == 0 && shift && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) *out = moved(*out, *shift);
    return done;
}

time_t time(time_t* out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval* restrict out, void* restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

int pthread_cond_timedwait(pthread_cond_t* restrict c, pthread_mutex_t* restrict m, const struct timespec* restrict until) {
    const struct timespec real = shift ? moved(*until, -*shift) : *until;
    return real_timedwait(c, m, &real);
}

long syscall(long number, ...) {
    va_list rest;
    va_start(rest, number);
    long a[6];
    for (int i = 0; i < 6; ++i) a[i] = va_arg(rest, long);
    va_end(rest);
    struct timespec real;
    if (number == SYS_futex && shift && (a[1] & FUTEX_CLOCK_REALTIME) && a[3]) {
        real = moved(*(const struct timespec*)a[3], -*shift);
        a[3] = (long)&real;
    }
    if (!real_syscall) real_syscall = (long (*)(long, long, long, long, long, long, long))dlsym(RTLD_NEXT, "syscall");
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
