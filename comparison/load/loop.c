#include "loop.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "say.h"

#define EVENTS_PER_TURN 1024

static int epoll_fd = -1;

void loop_open(void) {
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) die("epoll: %s", strerror(errno));
}

void loop_close(void) { close(epoll_fd); }

static void control(int operation, int fd, struct watch *watch, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(epoll_fd, operation, fd, &event)) die("epoll: %s", strerror(errno));
}

void loop_add(int fd, struct watch *watch, uint32_t events) { control(EPOLL_CTL_ADD, fd, watch, events); }

void loop_change(int fd, struct watch *watch, uint32_t events) { control(EPOLL_CTL_MOD, fd, watch, events); }

// Not epoll_wait alone, whose milliseconds are too coarse for a schedule of messages. But epoll_pwait2 is missing
// before Linux 5.11, and under some versions of valgrind; there, messages are up to a millisecond late.
static int wait_for(struct epoll_event *events, uint64_t wait_ns) {
    static bool is_coarse;
    if (!is_coarse) {
        struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S)};
        int count = epoll_pwait2(epoll_fd, events, EVENTS_PER_TURN, &wait, NULL);
        if (count >= 0 || errno != ENOSYS) return count;
        is_coarse = true;
    }
    return epoll_wait(epoll_fd, events, EVENTS_PER_TURN, (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS));
}

void loop_turn(uint64_t until_ns) {
    struct epoll_event events[EVENTS_PER_TURN];
    uint64_t now = now_ns();
    int count = wait_for(events, until_ns > now ? until_ns - now : 0);
    if (count < 0 && errno != EINTR) die("epoll: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct watch *watch = events[i].data.ptr;
        watch->ready(watch);
    }
}
