// The practical limit on one core: a bare broadcast server for the classic wire.
//
// What it does: one thread and one epoll. Each round reads whatever has come, frames every message once, joins the
// frames of a room, and at the end of the round writes them to each member with one send. A login gets an OTP, an
// upgrade gets its 101, change_room and send_message work, pings and closes are answered.
//
// What it does not do: no password or OTP or Origin is looked at, nothing is logged or limited, no ping is sent, and
// JSON is not parsed: it has to be compact, as JSON.stringify writes it, and a payload is passed on as it is, `from`
// included. `sent` is always the same time. A member whose socket takes no more is dropped rather than waited for. A
// message in fragments is lost, and one of 64 KiB or more ends its connection.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    INBOX = 64 * 1024,
    ROOMS = 4096,
    ROOM_NAME = 64,
    ROUND = 256,     // events of one epoll round
    FRAME_HEAD = 4,  // of a server's frame with up to 64 KiB
    OP_TEXT = 1,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10,
};

#define BEFORE "{\"type\":\"new_message\",\"payload\":{"
#define AFTER ",\"sent\":\"2026-01-01T00:00:00Z\"}}"
#define LENGTH(literal) (sizeof(literal) - 1)

typedef struct {
    int fd;
    bool upgraded;
    int room;      // -1 before the upgrade
    int place;     // among the members of that room
    uint8_t *rest; // bytes that came too early to be used; mostly there are none
    size_t rest_length;
} Client;

typedef struct {
    char name[ROOM_NAME + 1];
    Client **members;
    int count, capacity;
    uint8_t *out; // frames said in this round
    size_t out_length, out_capacity;
} Room;

static Room rooms[ROOMS];
static int room_count;
static int spoken[ROOMS]; // rooms in which something was said in this round
static int spoken_count;
static uint8_t inbox[INBOX + 1];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *grown(void *memory, size_t size) {
    void *found = realloc(memory, size);
    if (!found) fail("realloc");
    return found;
}

// Rooms

// The index of a room, made when there was none of that name; -1 when it cannot be.
static int room_named(const char *name, size_t length) {
    if (length > ROOM_NAME) return -1;
    for (int i = 0; i < room_count; i++) {
        if (strlen(rooms[i].name) == length && !memcmp(rooms[i].name, name, length)) return i;
    }
    if (room_count == ROOMS) return -1;
    memcpy(rooms[room_count].name, name, length);
    return room_count++;
}

static void leave(Client *client) {
    if (client->room < 0) return;
    Room *room = &rooms[client->room];
    Client *last = room->members[--room->count];
    room->members[client->place] = last;
    last->place = client->place;
    client->room = -1;
}

static void join(Client *client, int index) {
    leave(client);
    Room *room = &rooms[index];
    if (room->count == room->capacity) {
        room->capacity = room->capacity ? room->capacity * 2 : 16;
        room->members = grown(room->members, room->capacity * sizeof *room->members);
    }
    client->room = index;
    client->place = room->count;
    room->members[room->count++] = client;
}

// Events

static uint8_t *put(uint8_t *at, const void *bytes, size_t length) {
    memcpy(at, bytes, length);
    return at + length;
}

// Adds a new_message with this payload, an object without its braces, to what a room is sent at the end of the round.
static void say(int index, const uint8_t *payload, size_t length) {
    Room *room = &rooms[index];
    size_t body = LENGTH(BEFORE) + length + LENGTH(AFTER);
    size_t need = room->out_length + FRAME_HEAD + body;
    if (need > room->out_capacity) {
        room->out_capacity = 2 * need;
        room->out = grown(room->out, room->out_capacity);
    }
    if (!room->out_length) spoken[spoken_count++] = index;
    uint8_t *at = room->out + room->out_length;
    *at++ = 0x80 | OP_TEXT;
    if (body < 126) {
        *at++ = body;
    } else {
        *at++ = 126;
        *at++ = body >> 8;
        *at++ = body;
    }
    at = put(at, BEFORE, LENGTH(BEFORE));
    at = put(at, payload, length);
    at = put(at, AFTER, LENGTH(AFTER));
    room->out_length = at - room->out;
}

static void change_room(Client *client, const char *event, size_t length) {
    static const char key[] = "\"name\":\"";
    const char *name = memmem(event, length, key, LENGTH(key));
    if (!name) return;
    name += LENGTH(key);
    const char *end = memchr(name, '"', event + length - name);
    int index = end ? room_named(name, end - name) : -1;
    if (index >= 0) join(client, index);
}

static void take_event(Client *client, const uint8_t *event, size_t length) {
    static const char change[] = "change_room", key[] = "\"payload\":{";
    if (memmem(event, length < 40 ? length : 40, change, LENGTH(change))) {
        change_room(client, (const char *)event, length);
        return;
    }
    const uint8_t *payload = memmem(event, length, key, LENGTH(key));
    if (!payload) return;
    payload += LENGTH(key);
    const uint8_t *end = event + length - LENGTH("}}");
    if (end > payload) say(client->room, payload, end - payload);
}

static void end_round(void) {
    for (int i = 0; i < spoken_count; i++) {
        Room *room = &rooms[spoken[i]];
        for (int k = 0; k < room->count; k++) {
            int fd = room->members[k]->fd;
            ssize_t sent = send(fd, room->out, room->out_length, MSG_NOSIGNAL);
            // A shutdown comes back as an event, in which the member is forgotten.
            if (sent != (ssize_t)room->out_length) shutdown(fd, SHUT_RDWR);
        }
        room->out_length = 0;
    }
    spoken_count = 0;
}

// Getting in

static uint32_t rotated(uint32_t word, int by) { return word << by | word >> (32 - by); }

static void sha1_block(uint32_t state[5], const uint8_t block[64]) {
    uint32_t w[80];
    for (int i = 0; i < 16; i++) {
        const uint8_t *at = block + 4 * i;
        w[i] = (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
    }
    for (int i = 16; i < 80; i++) w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        uint32_t mix = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                       : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                       : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = rotated(a, 5) + mix + e + w[i];
        e = d, d = c, c = rotated(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

// The Sec-WebSocket-Accept for a key of 24 characters (RFC 6455, 4.2.2).
static void accept_for(const char *key, char accept[29]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t padded[128] = {0}; // the key and its suffix are 60 bytes: two blocks
    sprintf((char *)padded, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11\x80", key);
    padded[126] = 60 * 8 >> 8, padded[127] = 60 * 8 & 255;
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    sha1_block(state, padded);
    sha1_block(state, padded + 64);
    uint8_t digest[21] = {0};
    for (int i = 0; i < 20; i++) digest[i] = state[i / 4] >> (24 - 8 * (i % 4));
    for (int i = 0; i < 28; i++) {
        int bit = 6 * i, at = bit / 8;
        int pair = digest[at] << 8 | (at < 20 ? digest[at + 1] : 0);
        accept[i] = alphabet[pair >> (10 - bit % 8) & 63];
    }
    accept[27] = '=', accept[28] = 0;
}

// The value of a header, or NULL.
static const char *header(const char *request, const char *name) {
    const char *found = strcasestr(request, name);
    return found ? found + strlen(name) + strspn(found + strlen(name), " ") : NULL;
}

// Answers a request, and returns how long it was; 0 when not all of it is there.
static size_t take_request(Client *client, const char *request, size_t length) {
    const char *end = strstr(request, "\r\n\r\n");
    if (!end) return 0;
    const char *body = header(request, "\r\ncontent-length:");
    size_t used = end + 4 - request + (body && body < end ? strtoul(body, NULL, 10) : 0);
    if (used > length) return 0;
    char answer[256], accept[29];
    const char *key = header(request, "\r\nsec-websocket-key:");
    if (key && key < end) {
        accept_for(key, accept);
        sprintf(answer,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Accept: %s\r\n\r\n",
                accept);
        client->upgraded = true;
        join(client, room_named("general", 7));
    } else {
        strcpy(answer,
               "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n"
               "{\"otp\":\"x\"}");
    }
    send(client->fd, answer, strlen(answer), MSG_NOSIGNAL);
    return used;
}

// Frames

// Sends a control frame's payload back; its two bytes of head go where the mask was.
static void echo(Client *client, int opcode, uint8_t *data, size_t length) {
    if (length > 125) return;
    data[-2] = 0x80 | opcode, data[-1] = length;
    send(client->fd, data - 2, 2 + length, MSG_NOSIGNAL);
}

// Takes one frame, and returns how long it was; 0 when not all of it is there.
static size_t take_frame(Client *client, uint8_t *frame, size_t length) {
    size_t body = length < 2 ? 0 : frame[1] & 127, head = 2;
    if (body == 126) {
        if (length < 4) return 0;
        body = frame[2] << 8 | frame[3], head = 4;
    } else if (body == 127) {
        shutdown(client->fd, SHUT_RDWR);
        return 0;
    }
    if (length < head + 4 + body) return 0;
    const uint8_t *mask = frame + head;
    uint8_t *data = frame + head + 4;
    for (size_t i = 0; i < body; i++) data[i] ^= mask[i & 3];
    switch (frame[0] & 15) {
    case OP_TEXT:
        take_event(client, data, body);
        break;
    case OP_PING:
        echo(client, OP_PONG, data, body);
        break;
    case OP_CLOSE:
        echo(client, OP_CLOSE, data, body);
        shutdown(client->fd, SHUT_RDWR);
        break;
    }
    return head + 4 + body;
}

// Connections

static void forget(Client *client) {
    leave(client);
    close(client->fd);
    free(client->rest);
    free(client);
}

static void keep_rest(Client *client, const uint8_t *bytes, size_t length) {
    free(client->rest);
    client->rest = NULL;
    client->rest_length = length;
    if (length) client->rest = memcpy(grown(NULL, length), bytes, length);
}

static void read_from(Client *client) {
    size_t length = client->rest_length;
    if (length) memcpy(inbox, client->rest, length);
    ssize_t got = recv(client->fd, inbox + length, INBOX - length, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { // an inbox full of one message reads 0 too
        forget(client);
        return;
    }
    length += got;
    inbox[length] = 0; // the end, for take_request
    size_t used = 0, taken;
    do {
        uint8_t *at = inbox + used;
        taken = client->upgraded ? take_frame(client, at, length - used)
                                 : take_request(client, (char *)at, length - used);
        used += taken;
    } while (taken && used < length);
    if (used < length || client->rest) keep_rest(client, inbox + used, length - used);
}

static void watch(int epoll, int fd, void *owner) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = owner};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static void accept_all(int listener, int epoll) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        Client *client = grown(NULL, sizeof *client);
        *client = (Client){.fd = fd, .room = -1};
        watch(epoll, fd, client);
    }
}

static int listening_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, SOMAXCONN)) fail("listen");
    return fd;
}

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int count, char **arguments) {
    if (count != 3 || strcmp(arguments[1], "--port")) {
        fprintf(stderr, "usage: %s --port PORT\n", arguments[0]);
        return 2;
    }
    raise_file_limit();
    int listener = listening_on(atoi(arguments[2])), epoll = epoll_create1(0);
    watch(epoll, listener, NULL);
    struct epoll_event events[ROUND];
    for (;;) {
        int ready = epoll_wait(epoll, events, ROUND, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr) read_from(events[i].data.ptr);
            else accept_all(listener, epoll);
        }
        end_round();
    }
}
