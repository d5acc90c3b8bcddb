// One client that is in: its WebSocket, read and answered as the protocol demands.
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "frames.h"
#include "loop.h"

struct client {
    struct watch watch;
    struct connection connection;
    uint32_t events;  // that the loop watches for
    int number;
    int room;
    int in_flight;     // of its messages, in a closed loop
    bool is_observer;  // the last one of its room: what it has got, the room has got
    bool is_in_room;   // a message of the room has come
};

// What to do with a text frame. `arrived_ns` is when it was read from the socket.
typedef void (*text_handler)(struct client *client, const struct frame *frame, uint64_t arrived_ns);

// Call once.
void clients_prepare(text_handler handler);

// Take a connection over from its entry, the loop watching for EPOLLIN.
void client_begin(struct client *client);

void client_send(struct client *client, int opcode, const void *payload, size_t size);

// Answer a ping of the protocol above WebSocket.
void client_answer_ping(struct client *client, const char *pong);

// Pings answered so far, by all clients.
uint64_t clients_pongs(void);

#endif
