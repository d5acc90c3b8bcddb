// A growing buffer of bytes. All zeros is an empty one.
#ifndef BYTES_H
#define BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

void bytes_append(struct bytes *bytes, const void *data, size_t size);

// Drop the first `size` bytes.
void bytes_drop(struct bytes *bytes, size_t size);

void bytes_free(struct bytes *bytes);

#endif
