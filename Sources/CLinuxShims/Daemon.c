#define _GNU_SOURCE 1
#include "CLinuxShims.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void cairn_buffer_output_by_line(void) { setvbuf(stdout, 0, _IOLBF, 0); }

int cairn_daemonize(void) {
    int channel[2];
    if (pipe2(channel, O_CLOEXEC) != 0) return -errno;
    pid_t child = fork();
    if (child < 0) return -errno;
    if (child > 0) {
        char word = 0;
        ssize_t count;
        close(channel[1]);
        do count = read(channel[0], &word, 1);
        while (count < 0 && errno == EINTR);
        _exit(count == 1 ? 0 : 1);
    }
    close(channel[0]);
    if (setsid() < 0) return -errno;
    return channel[1];
}

void cairn_daemon_ready(int channel) {
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0) {
        for (int standard = 0; standard < 3; standard++) dup2(nothing, standard);
        close(nothing);
    }
    if (chdir("/") != 0) { /* The daemon runs on where it is. */ }
    char word = 1;
    while (write(channel, &word, 1) < 0 && errno == EINTR) {}
    close(channel);
}
