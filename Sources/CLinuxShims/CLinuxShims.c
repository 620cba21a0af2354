#define _GNU_SOURCE 1
#include "CLinuxShims.h"

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
