#include "http.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// The example of RFC 6455 section 1.3. A key is random so that no cache answers for a server; there is none here.
#define WEBSOCKET_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define WEBSOCKET_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// Requests. options.c bounds what goes into them, so that they fit into MAX_REQUEST.

static int write_common(char *out, size_t room, const struct options *options) {
    const char *origin = options->origin;
    return snprintf(out, room, "Host: %s:%d\r\n%s%s%s", options->host, options->port, origin ? "Origin: " : "",
                    origin ? origin : "", origin ? "\r\n" : "");
}

size_t http_write_login(char out[MAX_REQUEST], const struct options *options) {
    int size;
    if (options->token) {
        size = sprintf(out, "POST /otp HTTP/1.1\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n", options->token);
        size += write_common(out + size, MAX_REQUEST - (size_t)size, options);
        return (size_t)(size + sprintf(out + size, "\r\n"));
    }
    static const char BODY[] = "{\"username\":\"%s\",\"password\":\"%s\"}";
    int body = snprintf(NULL, 0, BODY, options->user, options->password);
    size = sprintf(out, "POST /login HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", body);
    size += write_common(out + size, MAX_REQUEST - (size_t)size, options);
    size += sprintf(out + size, "\r\n");
    return (size_t)(size + sprintf(out + size, BODY, options->user, options->password));
}

// Write a value of a URL's query, percent-encoded (RFC 3986 section 2.1).
static int write_encoded(char *out, const char *text) {
    int size = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        size += sprintf(out + size, isalnum(*c) || strchr("-._~", *c) ? "%c" : "%%%02X", *c);
    return size;
}

size_t http_write_upgrade(char out[MAX_REQUEST], const struct options *options, const char *pass, int number) {
    const struct protocol *protocol = options->protocol;
    int size = sprintf(out, "GET %s", options->path);
    if (protocol->identity == IDENTITY_OTP) {
        size += sprintf(out + size, "%cotp=", strchr(options->path, '?') ? '&' : '?');
        size += write_encoded(out + size, pass);
    }
    if (options->is_named) size += sprintf(out + size, "&name=load%d", number);
    size += sprintf(out + size, " HTTP/1.1\r\n");
    size += write_common(out + size, MAX_REQUEST - (size_t)size, options);
    if (protocol->identity == IDENTITY_BEARER) size += sprintf(out + size, "Authorization: Bearer %s\r\n", pass);
    if (protocol->subprotocol) size += sprintf(out + size, "Sec-WebSocket-Protocol: %s\r\n", protocol->subprotocol);
    size += sprintf(out + size,
                    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " WEBSOCKET_KEY "\r\n\r\n");
    return (size_t)size;
}

// Heads of answers

struct head {
    int status;
    bool is_http_1_0;
    bool says_close;
    bool says_keep_alive;
    bool is_chunked;
    bool has_length;
    size_t length;
    bool upgrades;
    bool accepts;
    size_t size;  // with the empty line
};

static bool is_name(const char *line, size_t size, const char *name) {
    return size == strlen(name) && strncasecmp(line, name, size) == 0;
}

// Whether a list such as "keep-alive, Upgrade" has this item.
static bool has_item(const char *list, size_t size, const char *item) {
    while (size) {
        const char *comma = memchr(list, ',', size);
        size_t part = comma ? (size_t)(comma - list) : size;
        size_t begin = 0, end = part;
        while (begin < end && isspace((unsigned char)list[begin])) begin++;
        while (end > begin && isspace((unsigned char)list[end - 1])) end--;
        if (is_name(list + begin, end - begin, item)) return true;
        if (!comma) return false;
        list += part + 1;
        size -= part + 1;
    }
    return false;
}

// Read a number of decimal or hexadecimal digits; false if there are none, or it is larger than any answer may be.
static bool read_size(const char *text, size_t size, int base, size_t *value) {
    size_t digits = 0;
    *value = 0;
    for (; digits < size && (base == 16 ? isxdigit((unsigned char)text[digits]) : isdigit((unsigned char)text[digits]));
         digits++) {
        int c = tolower((unsigned char)text[digits]);
        *value = *value * (size_t)base + (size_t)(isdigit(c) ? c - '0' : c - 'a' + 10);
        if (*value > MAX_ANSWER) return false;
    }
    return digits > 0;
}

static bool take_header(struct head *head, const char *line, size_t size) {
    const char *colon = memchr(line, ':', size);
    if (!colon || colon == line) return false;
    size_t name = (size_t)(colon - line);
    const char *value = colon + 1;
    size_t length = size - name - 1;
    while (length && isspace((unsigned char)*value)) value++, length--;
    while (length && isspace((unsigned char)value[length - 1])) length--;
    if (is_name(line, name, "Connection")) {
        head->says_close |= has_item(value, length, "close");
        head->says_keep_alive |= has_item(value, length, "keep-alive");
    } else if (is_name(line, name, "Content-Length")) {
        head->has_length = true;
        return read_size(value, length, 10, &head->length);
    } else if (is_name(line, name, "Transfer-Encoding")) {
        head->is_chunked = has_item(value, length, "chunked");
    } else if (is_name(line, name, "Upgrade")) {
        head->upgrades = has_item(value, length, "websocket");
    } else if (is_name(line, name, "Sec-WebSocket-Accept")) {
        head->accepts = length == strlen(WEBSOCKET_ACCEPT) && memcmp(value, WEBSOCKET_ACCEPT, length) == 0;
    }
    return true;
}

static bool take_status_line(struct head *head, const char *line, size_t size) {
    if (size < 12 || !isdigit((unsigned char)line[7]) || line[8] != ' ') return false;
    for (int i = 9; i < 12; i++) {
        if (!isdigit((unsigned char)line[i])) return false;
        head->status = head->status * 10 + line[i] - '0';
    }
    head->is_http_1_0 = line[7] == '0';
    return head->status >= 100;
}

static enum http_progress read_head(const char *data, size_t size, struct head *head) {
    *head = (struct head){0};
    // Garbage is told from the first bytes on, and not waited for to end.
    if (memcmp(data, "HTTP/1.", size < 7 ? size : 7) != 0) return HTTP_BROKEN;
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return HTTP_INCOMPLETE;
    head->size = (size_t)(end - data) + 4;
    for (const char *line = data; line <= end;) {
        const char *next = memmem(line, (size_t)(end - line) + 2, "\r\n", 2);
        size_t length = (size_t)(next - line);
        bool is_good = line == data ? take_status_line(head, line, length) : take_header(head, line, length);
        if (!is_good) return HTTP_BROKEN;
        line = next + 2;
    }
    return HTTP_COMPLETE;
}

// Bodies

// RFC 9112 section 7.1. Trailers are passed over.
static enum http_progress read_chunks(const char *data, size_t size, struct answer *answer) {
    size_t at = 0;
    for (;;) {
        const char *end = memmem(data + at, size - at, "\r\n", 2);
        if (!end) return HTTP_INCOMPLETE;
        size_t chunk;
        if (!read_size(data + at, (size_t)(end - data) - at, 16, &chunk)) return HTTP_BROKEN;
        at = (size_t)(end - data) + 2;
        if (chunk == 0) break;
        if (size - at < chunk + 2) return HTTP_INCOMPLETE;
        memcpy(answer->body + answer->body_size, data + at, chunk);
        answer->body_size += chunk;
        at += chunk;
        if (memcmp(data + at, "\r\n", 2) != 0) return HTTP_BROKEN;
        at += 2;
    }
    for (;;) {
        const char *end = memmem(data + at, size - at, "\r\n", 2);
        if (!end) return HTTP_INCOMPLETE;
        bool is_last = end == data + at;
        at = (size_t)(end - data) + 2;
        if (is_last) break;
    }
    answer->taken += at;
    return HTTP_COMPLETE;
}

static enum http_progress read_body(const char *data, size_t size, bool is_end, const struct head *head,
                                    struct answer *answer) {
    if (head->status < 200 || head->status == 204 || head->status == 304) return HTTP_COMPLETE;
    if (head->is_chunked) return read_chunks(data, size, answer);
    size_t length = size;
    if (head->has_length) {
        if (size < head->length) return HTTP_INCOMPLETE;
        length = head->length;
    } else {
        answer->keeps_open = false;
        if (!is_end) return HTTP_INCOMPLETE;
    }
    memcpy(answer->body, data, length);
    answer->body_size = length;
    answer->taken += length;
    return HTTP_COMPLETE;
}

enum http_progress http_read(const char *data, size_t size, bool is_end, struct answer *answer) {
    struct head head;
    answer->taken = 0;
    do {  // a 1xx other than 101 announces the answer, and is none
        enum http_progress progress = read_head(data + answer->taken, size - answer->taken, &head);
        if (progress != HTTP_COMPLETE) return progress;
        answer->taken += head.size;
    } while (head.status < 200 && head.status != 101);
    answer->status = head.status;
    answer->keeps_open = !is_end && !head.says_close && (!head.is_http_1_0 || head.says_keep_alive);
    answer->is_upgraded = head.status == 101 && head.upgrades && head.accepts;
    answer->body_size = 0;
    enum http_progress progress = read_body(data + answer->taken, size - answer->taken, is_end, &head, answer);
    answer->body[answer->body_size] = '\0';
    return progress;
}

// JSON

// Read the string after its opening quote: where it ends, or NULL. Beyond ASCII, \u is replaced by a question mark.
static const char *read_string(const char *at, char *out, size_t room) {
    size_t size = 0;
    for (; *at && *at != '"'; at++) {
        char c = *at;
        if (c == '\\') {
            static const char ESCAPES[] = "\"\\/bfnrt", VALUES[] = "\"\\/\b\f\n\r\t";
            c = *++at;
            const char *escape = c ? strchr(ESCAPES, c) : NULL;
            if (escape) {
                c = VALUES[escape - ESCAPES];
            } else if (c == 'u' && strspn(at + 1, "0123456789abcdefABCDEF") >= 4) {
                char digits[5] = {at[1], at[2], at[3], at[4], '\0'};
                long point = strtol(digits, NULL, 16);
                c = point && point < 0x80 ? (char)point : '?';
                at += 4;
            } else {
                return NULL;
            }
        }
        if (size + 1 < room) out[size++] = c;
    }
    out[size] = '\0';
    return *at ? at + 1 : NULL;
}

static const char *skip_space(const char *at) { return at + strspn(at, " \t\r\n"); }

bool http_find_otp(const char *body, char otp[MAX_OTP]) {
    // Going from string to string, so that no "otp" within a value is taken for the key.
    for (const char *at = strchr(body, '"'); at; at = strchr(at, '"')) {
        char key[8];
        at = read_string(at + 1, key, sizeof key);
        if (!at) return false;
        const char *colon = skip_space(at);
        if (strcmp(key, "otp") != 0 || *colon != ':') continue;
        const char *value = skip_space(colon + 1);
        return *value == '"' && read_string(value + 1, otp, MAX_OTP) && otp[0];
    }
    return false;
}
