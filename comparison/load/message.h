// The chat messages that carry the load. Their text begins with a stamp: when it was due, and who sent it.
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// "@", 16 hexadecimal digits of the time, "@", 6 of the sender, "@"
#define STAMP_SIZE 25
#define MAX_MESSAGE 60000

struct stamp {
    uint64_t due_ns;
    uint32_t sender;
};

// Call once: all messages of a run are from the same user and have the same size.
void messages_prepare(const char *user, int text_size);

// The send_message event with this stamp. It lives until the next call.
const char *message_write(struct stamp stamp, size_t *size);

// The stamp of a new_message event. False: it is something else.
bool message_read(const uint8_t *event, size_t size, struct stamp *stamp);

#endif
