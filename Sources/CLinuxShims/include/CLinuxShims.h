// What Swift cannot say itself: thread-local storage, variadic and macro-only system calls.
#ifndef CLINUXSHIMS_H
#define CLINUXSHIMS_H

#include <spawn.h>
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

/// Gives all whole pages that malloc(3) has free back to the kernel, in all arenas.
void cairn_trim_memory(void);

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

/// Asks the file system not to copy an empty file's blocks on write. File systems that know nothing of that ignore it.
void cairn_set_no_copy_on_write(int file);
/// Asks the file system to allocate a file's space in extents of that many bytes. Others ignore it.
void cairn_set_extent_size_hint(int file, uint32_t bytes);

/// Whether a file is on a file system that has its bytes in memory: tmpfs, ramfs.
_Bool cairn_is_in_memory(int file);

/// Opens what a descriptor names once more; the new descriptor, or a negative error number.
int cairn_reopen(int file, _Bool writable, _Bool direct);

// The command line and the process.

/// The next option of the command line as getopt_long(3) finds it, which prints its own messages: an index into `names`,
/// -1 at the end, -2 for an argument that is no option, -3 for an error. `short_names` has a character for each name, or a blank;
/// a name is null where there is only the character.
int cairn_next_option(
    int argc, char **argv, const char *const *names, const char *short_names, const _Bool *take_values, int count);
/// The value of the option found last, or the argument that is no option; null where there is none.
const char *cairn_option_value(void);
/// The index of the next word of the command line.
int cairn_option_index(void);
/// Has the next search for options begin anew, with whatever command line it is given.
void cairn_restart_options(void);

/// Has each line of standard output written at once.
void cairn_buffer_output_by_line(void);

/// Becomes two processes. In the parent: waits for the child's word or end, and exits with it. In the child, which is in a
/// session of its own: the descriptor for `cairn_daemon_ready`, or a negative error number.
int cairn_daemonize(void);
/// Tells the parent that all is well, and lets go of the terminal and the working directory.
void cairn_daemon_ready(int channel);

/// Has a program that is spawned with the actions begin in a directory: posix_spawn_file_actions_addchdir_np(3).
int cairn_spawn_in_directory(posix_spawn_file_actions_t *actions, const char *path);

#endif
