/* A wall clock that jumps, for the processes that this is preloaded into (LD_PRELOAD).
 *
 * The file that WALL_CLOCK_OFFSET names holds one 64-bit number, in seconds, which is added to CLOCK_REALTIME while a
 * process runs. The monotonic clock is left alone, as a real jump leaves it. A wait until a time of the wall clock ends
 * by the clock that jumped, as the kernel's would: it is cut into short waits, which end early as any such wait may.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* In nanoseconds. */
#define SECOND 1000000000LL
#define SLICE (SECOND / 50)
/* No machine has run for so many seconds, and the wall clock is beyond them. */
#define LEAST_WALL_SECONDS 1000000000

static volatile int64_t nothing, *offset = &nothing;
static long (*real_syscall)(long, ...);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("WALL_CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    if (page != MAP_FAILED)
        offset = page;
}

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
    if (!real_syscall)
        real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return real_syscall(number, a, b, c, d, e, f);
}

static int is_wall(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = kernel(SYS_clock_gettime, clock, (long)now, 0, 0, 0, 0);
    if (!failed && is_wall(clock))
        now->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
    (void)zone;
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now)
        *now = exact.tv_sec;
    return exact.tv_sec;
}

/* Nanoseconds from now until `end`, of the wall clock. */
static int64_t left(const struct timespec *end)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (end->tv_sec - now.tv_sec) * SECOND + end->tv_nsec - now.tv_nsec;
}

/* A moment of the monotonic clock: `end`, or the end of a short wait; whether it is the latter. */
static int slice(const struct timespec *end, struct timespec *until)
{
    int64_t wait = left(end);
    int cut = wait > SLICE;
    clock_gettime(CLOCK_MONOTONIC, until);
    int64_t nanoseconds = until->tv_nsec + (cut ? SLICE : wait > 0 ? wait : 0);
    until->tv_sec += nanoseconds / SECOND;
    until->tv_nsec = nanoseconds % SECOND;
    return cut;
}

/* Deadlines of a condition may be of the monotonic clock too, which began when the machine did. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *end)
{
    struct timespec until;
    if (end->tv_sec < LEAST_WALL_SECONDS)
        return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, end);
    int cut = slice(end, &until);
    int found = pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &until);
    return found == ETIMEDOUT && cut ? 0 : found;
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *end)
{
    struct timespec until;
    int cut, found;
    do {
        cut = slice(end, &until);
        found = pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until);
    } while (found == ETIMEDOUT && cut);
    return found;
}

int sem_timedwait(sem_t *semaphore, const struct timespec *end)
{
    struct timespec until;
    int cut, failed;
    do {
        cut = slice(end, &until);
        failed = sem_clockwait(semaphore, CLOCK_MONOTONIC, &until);
    } while (failed && errno == ETIMEDOUT && cut);
    return failed;
}

/* gRPC's own waits. */
long syscall(long number, ...)
{
    __builtin_va_list all;
    long given[6];
    __builtin_va_start(all, number);
    for (int i = 0; i < 6; i++)
        given[i] = __builtin_va_arg(all, long);
    __builtin_va_end(all);
    struct timespec until;
    int cut = 0;
    if (number == SYS_futex && given[1] & FUTEX_CLOCK_REALTIME && given[3]) {
        cut = slice((const struct timespec *)given[3], &until);
        given[1] &= ~FUTEX_CLOCK_REALTIME;
        given[3] = (long)&until;
    }
    long found = kernel(number, given[0], given[1], given[2], given[3], given[4], given[5]);
    if (found < 0 && errno == ETIMEDOUT && cut)
        errno = EINTR;
    return found;
}
