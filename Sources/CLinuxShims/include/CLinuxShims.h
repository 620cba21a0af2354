// What Swift cannot say itself: thread-local storage, variadic and macro-only system calls.
#ifndef CLINUXSHIMS_H
#define CLINUXSHIMS_H

#include <stddef.h>
#include <stdint.h>

/// The calling thread's current I/O loop (an unretained `IOLoop`), or null.
void *cairn_current_loop(void);
void cairn_set_current_loop(void *loop);

/// The C library's text and name of an error number ("Input/output error", "EIO"), or null.
const char *cairn_error_text(int number);
const char *cairn_error_name(int number);

/// Names the calling thread; at most 15 bytes.
void cairn_name_thread(const char *name);

/// Sets or clears (F_UNLCK) a lock of the open file on a byte range without waiting. Returns 0, or -1 with errno.
int cairn_ofd_lock(int fd, int kind, int64_t start, int64_t length);
/// Returns 1 if no other open file's lock is in the way of such a lock, 0 if one is, -1 with errno.
int cairn_ofd_test(int fd, int kind, int64_t start, int64_t length);

/// Bytes of control data for a message with `count` file descriptors.
size_t cairn_control_size(int count);
/// Fills control data of that size with `count` file descriptors to send.
void cairn_control_set(void *control, const int *numbers, int count);
/// Takes up to `capacity` file descriptors out of received control data, and returns their number.
int cairn_control_get(void *control, size_t length, int *numbers, int capacity);

/// Prints a line on standard error.
void cairn_print_error(const char *text);

/// Opens what a descriptor names once more; the new descriptor, or a negative error number.
int cairn_reopen(int file, _Bool writable, _Bool direct);

#endif
