#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#include "say.h"

void bytes_append(struct bytes *bytes, const void *data, size_t size) {
    if (size == 0) return;
    if (bytes->size + size > bytes->capacity) {
        bytes->capacity = 2 * (bytes->size + size);
        bytes->data = realloc(bytes->data, bytes->capacity);
        if (!bytes->data) die("out of memory");
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

void bytes_drop(struct bytes *bytes, size_t size) {
    bytes->size -= size;
    if (bytes->size) memmove(bytes->data, bytes->data + size, bytes->size);
}

void bytes_free(struct bytes *bytes) {
    free(bytes->data);
    *bytes = (struct bytes){0};
}
