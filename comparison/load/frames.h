// WebSocket frames (RFC 6455 section 5.2) between bytes and their parts.
#ifndef FRAMES_H
#define FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define OPCODE_TEXT 1
#define OPCODE_CLOSE 8
#define OPCODE_PING 9
#define OPCODE_PONG 10

// A larger frame of a server is an error.
#define MAX_FRAME (1 << 20)
// Of the frames that we write: two bytes, two of length, four of mask.
#define MAX_FRAME_HEAD 8
#define MAX_OWN_PAYLOAD 65535
#define MAX_CONTROL_PAYLOAD 125

struct frame {
    int opcode;
    const uint8_t *payload;
    size_t size;
};

#define FRAME_INCOMPLETE 0
#define FRAME_BROKEN (-1)

// Read the frame at the beginning of `data`: the bytes it takes, FRAME_INCOMPLETE, or FRAME_BROKEN and in `*fault` why.
ptrdiff_t frame_read(const uint8_t *data, size_t size, struct frame *frame, const char **fault);

// Write a masked frame to `out`, which has room for MAX_FRAME_HEAD more than the payload: the bytes it takes.
size_t frame_write(uint8_t *out, int opcode, const void *payload, size_t size);

#endif
