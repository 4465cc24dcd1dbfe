/* Preloaded into a process, this puts its wall clock ahead by as many microseconds as an 8-byte file says, which may change
   at any time. All other clocks of the process stay as they are. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("STANDBY_TESTBED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        ahead = page;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && ahead) {
        int64_t microseconds = *ahead;
        int64_t nanoseconds = time->tv_nsec + microseconds % 1000000 * 1000;
        time->tv_sec += microseconds / 1000000;
        if (nanoseconds < 0) {
            time->tv_sec -= 1;
            nanoseconds += 1000000000;
        } else if (nanoseconds >= 1000000000) {
            time->tv_sec += 1;
            nanoseconds -= 1000000000;
        }
        time->tv_nsec = nanoseconds;
    }
    return result;
}
