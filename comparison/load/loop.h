// Waiting for many sockets: a thin layer over epoll.
#ifndef LOOP_H
#define LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

// What is told when a socket is ready. Embedded as the first member of its owner, which outlives the socket.
struct watch {
    void (*ready)(struct watch *watch);
};

void loop_open(void);

void loop_close(void);

// Watch a socket for `events` (EPOLLIN and so on); forgotten by itself when the socket is closed.
void loop_add(int fd, struct watch *watch, uint32_t events);

// From now on, tell another watch, or of other events.
void loop_change(int fd, struct watch *watch, uint32_t events);

// Wait until sockets are ready, but no longer than until `until_ns`; then tell their watches.
void loop_turn(uint64_t until_ns);

#endif
