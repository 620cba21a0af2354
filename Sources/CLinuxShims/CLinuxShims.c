#define _GNU_SOURCE 1
#include "CLinuxShims.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static _Thread_local void *current_loop;

void *cairn_current_loop(void) { return current_loop; }
void cairn_set_current_loop(void *loop) { current_loop = loop; }

const char *cairn_error_text(int number) { return strerrordesc_np(number); }
const char *cairn_error_name(int number) { return strerrorname_np(number); }

void cairn_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
void cairn_print_error(const char *text) { fprintf(stderr, "%s\n", text); }

int cairn_ofd_lock(int fd, int kind, int64_t start, int64_t length)
{
    struct flock lock = {.l_type = (short)kind, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

int cairn_ofd_test(int fd, int kind, int64_t start, int64_t length)
{
    struct flock lock = {.l_type = (short)kind, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (fcntl(fd, F_OFD_GETLK, &lock) == -1)
        return -1;
    return lock.l_type == F_UNLCK;
}
