// The chat messages that carry the load. Their text begins with a stamp: when it was due, and who sent it.
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

// "@", 16 hexadecimal digits of the time, "@", 6 of the sender, "@"
#define STAMP_SIZE 25
#define MAX_MESSAGE 60000

struct stamp {
    uint64_t due_ns;
    uint32_t sender;
};

// Call once: all messages of a run have the same size.
void messages_prepare(const struct protocol *protocol, int text_size);

// What a client says to send a message with this stamp to a room. It lives until the next call.
const char *message_write(struct stamp stamp, int room, size_t *size);

// The stamp of an event with a message. False: it is something else.
bool message_read(const uint8_t *event, size_t size, struct stamp *stamp);

#endif
