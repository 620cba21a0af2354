#define _GNU_SOURCE 1

#include "CLinuxShims.h"

int cairn_spawn_in_directory(posix_spawn_file_actions_t *actions, const char *path)
{
    return posix_spawn_file_actions_addchdir_np(actions, path);
}
