#include "frames.h"

#include <string.h>

// Any mask will do: its purpose is to confuse proxies, and there is none. It is not zero, which a server could skip.
static const uint8_t MASK[4] = {0x37, 0xfa, 0x21, 0x3d};

static const char *fault_of(const uint8_t *data, uint64_t size) {
    int opcode = data[0] & 0x0f;
    if (data[0] & 0x70) return "a frame with a reserved bit";
    if (data[1] & 0x80) return "a masked frame";
    if (!(data[0] & 0x80) || opcode == 0) return "a message in fragments, which are not read here";
    if (opcode > 10 || (opcode > 2 && opcode < 8)) return "a frame with a reserved opcode";
    if (opcode >= 8 && size > MAX_CONTROL_PAYLOAD) return "a control frame of more than 125 bytes";
    if (size > MAX_FRAME) return "a frame of more than 1 MiB";
    return NULL;
}

ptrdiff_t frame_read(const uint8_t *data, size_t size, struct frame *frame, const char **fault) {
    if (size < 2) return FRAME_INCOMPLETE;
    uint64_t payload = data[1] & 0x7f;
    size_t head = payload < 126 ? 2 : payload == 126 ? 4 : 10;
    if (size < head) return FRAME_INCOMPLETE;
    if (head > 2) {
        payload = 0;
        for (size_t i = 2; i < head; i++) payload = payload << 8 | data[i];
    }
    *fault = fault_of(data, payload);
    if (*fault) return FRAME_BROKEN;
    if (size - head < payload) return FRAME_INCOMPLETE;
    *frame = (struct frame){.opcode = data[0] & 0x0f, .payload = data + head, .size = (size_t)payload};
    return (ptrdiff_t)(head + payload);
}

size_t frame_write(uint8_t *out, int opcode, const void *payload, size_t size) {
    size_t head = 2;
    out[0] = (uint8_t)(0x80 | opcode);
    if (size < 126) {
        out[1] = (uint8_t)(0x80 | size);
    } else {
        out[1] = 0x80 | 126;
        out[2] = (uint8_t)(size >> 8);
        out[3] = (uint8_t)size;
        head = 4;
    }
    memcpy(out + head, MASK, sizeof MASK);
    head += sizeof MASK;
    const uint8_t *from = payload;
    for (size_t i = 0; i < size; i++) out[head + i] = from[i] ^ MASK[i & 3];
    return head + size;
}
