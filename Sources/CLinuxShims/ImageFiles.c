#define _GNU_SOURCE 1
#include "CLinuxShims.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

int cairn_reopen(int file, _Bool writable, _Bool direct) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int opened = open(path, (writable ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0) | O_CLOEXEC);
    return opened >= 0 ? opened : -errno;
}

_Bool cairn_is_in_memory(int file) {
    struct statfs status;
    return fstatfs(file, &status) == 0 && (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

void cairn_set_no_copy_on_write(int file) {
    int flags = 0;
    if (ioctl(file, FS_IOC_GETFLAGS, &flags) != 0) return;
    flags |= FS_NOCOW_FL;
    ioctl(file, FS_IOC_SETFLAGS, &flags);
}

void cairn_set_extent_size_hint(int file, uint32_t bytes) {
    struct fsxattr attributes;
    if (ioctl(file, FS_IOC_FSGETXATTR, &attributes) != 0) return;
    attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
    attributes.fsx_extsize = bytes;
    ioctl(file, FS_IOC_FSSETXATTR, &attributes);
}
