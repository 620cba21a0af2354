#define _GNU_SOURCE 1
#include "CLinuxShims.h"

#include <getopt.h>
#include <string.h>

enum { maximum_options = 64 };

int cairn_next_option(
    int argc, char **argv, const char *const *names, const char *short_names, const _Bool *take_values, int count) {
    struct option options[maximum_options + 1] = {{0}};
    char short_options[2 * maximum_options + 2] = "-";
    size_t length = 1;
    size_t long_count = 0;
    for (int i = 0; i < count && i < maximum_options; i++) {
        if (names[i])
            options[long_count++] =
                (struct option){names[i], take_values[i] ? required_argument : no_argument, 0, 1000 + i};
        if (short_names[i] == ' ') continue;
        short_options[length++] = short_names[i];
        if (take_values[i]) short_options[length++] = ':';
    }
    int result = getopt_long(argc, argv, short_options, options, 0);
    if (result == -1) return -1;
    if (result == 1) return -2;
    if (result >= 1000) return result - 1000;
    const char *found = result == '?' ? 0 : strchr(short_names, result);
    return found ? (int)(found - short_names) : -3;
}

const char *cairn_option_value(void) { return optarg; }

int cairn_option_index(void) { return optind; }

void cairn_restart_options(void) { optind = 0; }
