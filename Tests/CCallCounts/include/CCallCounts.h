// Counts what threads of the test program ask of the C library and of the kernel, by standing in for the functions of that name.
#ifndef CCALLCOUNTS_H
#define CCALLCOUNTS_H

#include <stdint.h>

/// What one thread has done so far.
struct cairn_call_counts {
    /// Calls of malloc, calloc, realloc, memalign, posix_memalign and aligned_alloc.
    uint64_t allocations;
    /// Bytes that memcpy and memmove have copied, 1024 or more at a time: data. Values and headers, which are shorter, are copied
    /// more or less often depending on the compiler's optimization.
    uint64_t copied_bytes;
    /// Calls of functions that enter the kernel to read, write, send, receive, seek, flush or wait; see the source for which.
    /// io_uring_enter(2), which liburing calls without the C library, is not one of them.
    uint64_t system_calls;
    /// Calls of futex(2) among them: each is a wait for a lock that another thread holds, or wakes such a thread.
    uint64_t futex_calls;
};

/// The counts of the calling thread. Other threads may read them as long as the thread lives.
const struct cairn_call_counts *cairn_call_counts_of_thread(void);

/// The counts at this moment. From any thread.
struct cairn_call_counts cairn_read_call_counts(const struct cairn_call_counts *counts);

/// Whether calls are counted: not under a sanitizer, which stands in for the same functions.
_Bool cairn_counts_calls(void);

#endif
