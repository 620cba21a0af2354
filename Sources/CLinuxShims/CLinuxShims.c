#include "CLinuxShims.h"

static _Thread_local void *current_loop;

void *cairn_current_loop(void) { return current_loop; }
void cairn_set_current_loop(void *loop) { current_loop = loop; }
