#define _GNU_SOURCE 1
#include "CLinuxShims.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static _Thread_local void *current_loop;

void *cairn_current_loop(void) { return current_loop; }
void cairn_set_current_loop(void *loop) { current_loop = loop; }

const char *cairn_error_text(int number) { return strerrordesc_np(number); }
const char *cairn_error_name(int number) { return strerrorname_np(number); }

void cairn_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

void cairn_trim_memory(void) { malloc_trim(0); }
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

size_t cairn_control_size(int count) { return CMSG_SPACE(sizeof(int) * (size_t)count); }

void cairn_control_set(void *control, const int *numbers, int count)
{
    struct cmsghdr *header = control;
    memset(control, 0, cairn_control_size(count));
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(header), numbers, sizeof(int) * (size_t)count);
}

int cairn_control_get(void *control, size_t length, int *numbers, int capacity)
{
    struct msghdr message = {.msg_control = control, .msg_controllen = length};
    int count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = header->cmsg_len - CMSG_LEN(0);
        for (size_t at = 0; at + sizeof(int) <= bytes && count < capacity; at += sizeof(int))
            memcpy(&numbers[count++], CMSG_DATA(header) + at, sizeof(int));
    }
    return count;
}
