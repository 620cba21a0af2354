// liburing 2.3 as Swift sees it, and what its ring functions do not offer: one submit-and-wait that can pass newer
// flags of io_uring_enter(2), and a completion taken off the ring by value.
#ifndef CAIRN_LIBURING_SHIM_H
#define CAIRN_LIBURING_SHIM_H
#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>

// Newer than the headers of liburing 2.3.
enum {
    CAIRN_OP_FTRUNCATE = 55,             // IORING_OP_FTRUNCATE, Linux 6.9
    CAIRN_FEAT_NO_IOWAIT = 1 << 17,      // IORING_FEAT_NO_IOWAIT, Linux 6.15
    CAIRN_ENTER_NO_IOWAIT = 1 << 7,      // IORING_ENTER_NO_IOWAIT, Linux 6.15
};

/// Tells the processor that a loop waits for another one.
static inline void cairn_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Makes slot n of the submission array mean entry n, once, so that submitting only moves the tail.
static inline void cairn_ring_fill_array(struct io_uring *ring)
{
    for (unsigned n = 0; n < ring->sq.ring_entries; n++)
        ring->sq.array[n] = n;
}

/// Lets a ring that was made disabled take entries. (liburing 2.3 declares its own function and does not export it.)
static inline int cairn_ring_enable(struct io_uring *ring)
{
    return io_uring_register(ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/// Entries that were prepared and that the kernel has not taken.
static inline unsigned cairn_ring_unsubmitted(const struct io_uring *ring)
{
    return ring->sq.sqe_tail - io_uring_smp_load_acquire(ring->sq.khead);
}

/// Whether the kernel has completions to hand over that only io_uring_enter(2) brings to the ring.
static inline bool cairn_ring_needs_enter(const struct io_uring *ring)
{
    return IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

/// Hands all prepared entries to the kernel and waits for `wait` completions.
/// Returns the number of entries taken, or a negative errno.
static inline int cairn_ring_enter(struct io_uring *ring, unsigned wait, unsigned flags)
{
    io_uring_smp_store_release(ring->sq.ktail, ring->sq.sqe_tail);
    if (ring->enter_ring_fd != ring->ring_fd)
        flags |= IORING_ENTER_REGISTERED_RING;
    return io_uring_enter(ring->enter_ring_fd, cairn_ring_unsubmitted(ring), wait, flags | IORING_ENTER_GETEVENTS,
                          NULL);
}

/// The same, but waits no longer than so many seconds. Without `IORING_FEAT_EXT_ARG` (Linux before 5.11) it waits for ever.
static inline int cairn_ring_enter_limited(struct io_uring *ring, unsigned flags, long long seconds)
{
    if (!(ring->features & IORING_FEAT_EXT_ARG)) return cairn_ring_enter(ring, 1, flags);
    struct __kernel_timespec limit = {.tv_sec = seconds};
    struct io_uring_getevents_arg argument = {.sigmask_sz = _NSIG / 8, .ts = (__u64)(uintptr_t)&limit};
    io_uring_smp_store_release(ring->sq.ktail, ring->sq.sqe_tail);
    if (ring->enter_ring_fd != ring->ring_fd)
        flags |= IORING_ENTER_REGISTERED_RING;
    return io_uring_enter2(ring->enter_ring_fd, cairn_ring_unsubmitted(ring), 1,
                           flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, (sigset_t *)&argument, sizeof(argument));
}

/// Whether a completion is on the ring.
static inline bool cairn_ring_ready(const struct io_uring *ring)
{
    return *ring->cq.khead != io_uring_smp_load_acquire(ring->cq.ktail);
}

/// Looks for completions without entering the kernel, until there are some or may be, or the time is over.
static inline void cairn_ring_poll(const struct io_uring *ring, int64_t nanoseconds)
{
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (int n = 0; n < 32; n++) {
            if (cairn_ring_ready(ring) || cairn_ring_needs_enter(ring))
                return;
            cairn_pause();
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000000000LL + now.tv_nsec - start.tv_nsec < nanoseconds);
}

/// Waits for one completion for at most a millisecond, submitting nothing: what to do when the kernel is short of memory.
static inline void cairn_ring_breathe(struct io_uring *ring)
{
    struct __kernel_timespec limit = {.tv_sec = 0, .tv_nsec = 1000000};
    struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)&limit};
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (ring->enter_ring_fd != ring->ring_fd)
        flags |= IORING_ENTER_REGISTERED_RING;
    io_uring_enter2(ring->enter_ring_fd, 0, 1, flags, (sigset_t *)&arg, sizeof arg);
}

/// Takes the oldest completion off the ring; false when there is none.
static inline bool cairn_ring_pop(struct io_uring *ring, uint64_t *user_data, int32_t *result)
{
    unsigned head = *ring->cq.khead;
    if (head == io_uring_smp_load_acquire(ring->cq.ktail))
        return false;
    const struct io_uring_cqe *cqe = &ring->cq.cqes[head & ring->cq.ring_mask];
    *user_data = cqe->user_data;
    *result = cqe->res;
    io_uring_smp_store_release(ring->cq.khead, head + 1);
    return true;
}

static inline void cairn_prep_ftruncate(struct io_uring_sqe *sqe, int fd, uint64_t length)
{
    io_uring_prep_rw(CAIRN_OP_FTRUNCATE, sqe, fd, NULL, 0, length);
}

/// Cancels the one operation of that user data; the cancellation's own completion carries `own`.
static inline void cairn_prep_cancel(struct io_uring_sqe *sqe, uint64_t target, uint64_t own)
{
    io_uring_prep_cancel64(sqe, target, 0);
    sqe->user_data = own;
}

#endif
