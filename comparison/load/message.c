#include "message.h"

#include <string.h>

#define TIME_DIGITS 16
#define SENDER_DIGITS 6

static const struct protocol *protocol;
static char text[MAX_MESSAGE + 1];

static void write_hex(char *out, uint64_t value, int digits) {
    for (int i = digits - 1; i >= 0; i--, value >>= 4) out[i] = "0123456789abcdef"[value & 15];
}

static uint64_t read_hex(const uint8_t *in, int digits) {
    uint64_t value = 0;
    // A letter's low four bits are 1 to 6, and its bit 6 is set.
    for (int i = 0; i < digits; i++) value = value << 4 | (uint64_t)((in[i] & 15) + (in[i] >> 6) * 9);
    return value;
}

void messages_prepare(const struct protocol *spoken, int text_size) {
    protocol = spoken;
    memset(text, 'x', (size_t)text_size);
    memset(text, '@', STAMP_SIZE);
    text[text_size] = '\0';
}

const char *message_write(struct stamp stamp, int room, size_t *size) {
    static char out[MAX_MESSAGE + MAX_AROUND];
    static uint32_t id;
    write_hex(text + 1, stamp.due_ns, TIME_DIGITS);
    write_hex(text + 1 + TIME_DIGITS + 1, stamp.sender, SENDER_DIGITS);
    *size = protocol->write_message(out, id++, room_name(room), text);
    return out;
}

// Servers begin each event in the same way, as long as nothing that changes comes before the message. So what stood
// before the last stamp is tried first: a search in each event was half of our own instructions for a delivery.
static uint8_t usual_head[256];
static size_t usual_size;

static bool has_usual_head(const uint8_t *data, size_t size) {
    return usual_size && size >= usual_size + STAMP_SIZE && memcmp(data, usual_head, usual_size) == 0;
}

static const uint8_t *search_stamp(const uint8_t *data, size_t size) {
    const uint8_t *mark = memmem(data, size, protocol->mark, strlen(protocol->mark));
    const uint8_t *quote = mark ? memmem(data, size, "\"@", 2) : NULL;
    if (!quote) return NULL;
    size_t head = (size_t)(quote + 1 - data);
    if (size - head < STAMP_SIZE) return NULL;
    if (mark < quote && head <= sizeof usual_head) {
        memcpy(usual_head, data, head);
        usual_size = head;
    }
    return quote + 1;
}

bool message_read(const uint8_t *data, size_t size, struct stamp *stamp) {
    const uint8_t *at = has_usual_head(data, size) ? data + usual_size : search_stamp(data, size);
    if (!at || at[0] != '@' || at[1 + TIME_DIGITS] != '@' || at[STAMP_SIZE - 1] != '@') return false;
    stamp->due_ns = read_hex(at + 1, TIME_DIGITS);
    stamp->sender = (uint32_t)read_hex(at + 1 + TIME_DIGITS + 1, SENDER_DIGITS);
    return true;
}
