// What Swift cannot say itself: thread-local storage, variadic and macro-only system calls.
#ifndef CLINUXSHIMS_H
#define CLINUXSHIMS_H

/// The calling thread's current I/O loop (an unretained `IOLoop`), or null.
void *cairn_current_loop(void);
void cairn_set_current_loop(void *loop);

#endif
