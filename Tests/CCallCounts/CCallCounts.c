#define _GNU_SOURCE 1
#include "CCallCounts.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static _Thread_local struct cairn_call_counts counts;

const struct cairn_call_counts *cairn_call_counts_of_thread(void) { return &counts; }

struct cairn_call_counts cairn_read_call_counts(const struct cairn_call_counts *from)
{
    return (struct cairn_call_counts){
        .allocations = __atomic_load_n(&from->allocations, __ATOMIC_RELAXED),
        .copied_bytes = __atomic_load_n(&from->copied_bytes, __ATOMIC_RELAXED),
        .system_calls = __atomic_load_n(&from->system_calls, __ATOMIC_RELAXED),
        .futex_calls = __atomic_load_n(&from->futex_calls, __ATOMIC_RELAXED),
    };
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

#ifdef IS_SANITIZED
_Bool cairn_counts_calls(void) { return 0; }
#else
_Bool cairn_counts_calls(void) { return 1; }

// A function of this thread only, and its readers: no read-modify-write that others could see half of.
#define COUNT(field, by) __atomic_store_n(&counts.field, counts.field + (by), __ATOMIC_RELAXED)

// Memory. The C library's own functions have second names.

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size)
{
    COUNT(allocations, 1);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    COUNT(allocations, 1);
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    COUNT(allocations, 1);
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size)
{
    COUNT(allocations, 1);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    COUNT(allocations, 1);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    COUNT(allocations, 1);
    void *found = __libc_memalign(alignment, size);
    if (!found)
        return ENOMEM;
    *memory = found;
    return 0;
}

// Copies. The C library's functions are not known before the program's start is over.

enum { LEAST_COPY = 1024 };

typedef void *(*copy_function)(void *, const void *, size_t);
static copy_function next_memcpy, next_memmove;

__attribute__((constructor)) static void find_copies(void)
{
    next_memmove = (copy_function)dlsym(RTLD_NEXT, "memmove");
    next_memcpy = (copy_function)dlsym(RTLD_NEXT, "memcpy");
}

__attribute__((no_builtin)) static void *copy_slowly(void *to, const void *from, size_t count)
{
    volatile unsigned char *target = to;
    const unsigned char *source = from;
    if ((uintptr_t)to - (uintptr_t)from >= count) {
        for (size_t n = 0; n < count; n++)
            target[n] = source[n];
    } else {
        while (count-- > 0)
            target[count] = source[count];
    }
    return to;
}

__attribute__((no_builtin)) void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    if (count >= LEAST_COPY)
        COUNT(copied_bytes, count);
    return next_memcpy ? next_memcpy(to, from, count) : copy_slowly(to, from, count);
}

__attribute__((no_builtin)) void *memmove(void *to, const void *from, size_t count)
{
    if (count >= LEAST_COPY)
        COUNT(copied_bytes, count);
    return next_memmove ? next_memmove(to, from, count) : copy_slowly(to, from, count);
}

// System calls.

#define CALL(type, name, parameters, ...)                              \
    type name parameters                                               \
    {                                                                  \
        static type(*next) parameters;                                 \
        if (!next)                                                     \
            next = (type(*) parameters)dlsym(RTLD_NEXT, #name);        \
        COUNT(system_calls, 1);                                        \
        return next(__VA_ARGS__);                                      \
    }

CALL(ssize_t, read, (int file, void *bytes, size_t count), file, bytes, count)
CALL(ssize_t, write, (int file, const void *bytes, size_t count), file, bytes, count)
CALL(ssize_t, pread, (int file, void *bytes, size_t count, off_t at), file, bytes, count, at)
CALL(ssize_t, pwrite, (int file, const void *bytes, size_t count, off_t at), file, bytes, count, at)
CALL(ssize_t, preadv, (int file, const struct iovec *parts, int count, off_t at), file, parts, count, at)
CALL(ssize_t, pwritev, (int file, const struct iovec *parts, int count, off_t at), file, parts, count, at)
CALL(ssize_t, recv, (int file, void *bytes, size_t count, int flags), file, bytes, count, flags)
CALL(ssize_t, send, (int file, const void *bytes, size_t count, int flags), file, bytes, count, flags)
CALL(ssize_t, recvmsg, (int file, struct msghdr *message, int flags), file, message, flags)
CALL(ssize_t, sendmsg, (int file, const struct msghdr *message, int flags), file, message, flags)
CALL(off_t, lseek, (int file, off_t offset, int origin), file, offset, origin)
CALL(int, fdatasync, (int file), file)
CALL(int, fsync, (int file), file)
CALL(int, poll, (struct pollfd *files, nfds_t count, int limit), files, count, limit)
CALL(int, sched_yield, (void))

long syscall(long number, ...)
{
    static long (*next)(long, ...);
    if (!next)
        next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    COUNT(system_calls, 1);
    if (number == SYS_futex)
        COUNT(futex_calls, 1);
    va_list list;
    va_start(list, number);
    long a[6];
    for (int n = 0; n < 6; n++)
        a[n] = va_arg(list, long);
    va_end(list);
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
#endif
