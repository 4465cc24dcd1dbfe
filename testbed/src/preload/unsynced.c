/* Preloaded into a process, this has every sync of a file *.fs fail with EIO while the file that STANDBY_TESTBED_DISK names is
   there. All other files stay as they are. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int file) {
    const char *mark = getenv("STANDBY_TESTBED_DISK");
    char name[64], path[4096];
    if (!mark || access(mark, F_OK) != 0)
        return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path);
    return length > 3 && memcmp(path + length - 3, ".fs", 3) == 0;
}

static int synced(long call, int file) {
    if (fails(file)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, file);
}

int fsync(int file) { return synced(SYS_fsync, file); }

int fdatasync(int file) { return synced(SYS_fdatasync, file); }
