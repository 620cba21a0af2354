#define _GNU_SOURCE 1
#include "CLinuxShims.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

int cairn_reopen(int file, _Bool writable, _Bool direct) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int opened = open(path, (writable ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0) | O_CLOEXEC);
    return opened >= 0 ? opened : -errno;
}
