#include "protocol.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool begins(const char *data, size_t size, const char *start) {
    size_t length = strlen(start);
    return size >= length && memcmp(data, start, length) == 0;
}

static bool has(const char *data, size_t size, const char *part) { return memmem(data, size, part, strlen(part)); }

// The ids of requests tell what an answer is to.
#define HELLO_ID "1"
#define ENTERING_ID "2"
#define FIRST_MESSAGE_ID 10

// The classic dialect of docs/protocol.md: nothing is answered.

static size_t classic_entering(char *out, const char *room) {
    return (size_t)sprintf(out, "{\"type\":\"change_room\",\"payload\":{\"name\":\"%s\"}}", room);
}

static size_t classic_message(char *out, uint32_t id, const char *room, const char *text) {
    (void)id, (void)room;
    return (size_t)sprintf(out, "{\"type\":\"send_message\",\"payload\":{\"message\":\"%s\",\"from\":\"percy\"}}", text);
}

static enum said classic_read(const char *data, size_t size) {
    (void)data, (void)size;
    return SAID_OTHER;
}

// The v1 dialect of docs/protocol.md.

static size_t v1_entering(char *out, const char *room) {
    return (size_t)sprintf(
        out, "{\"type\":\"join_room\",\"id\":" ENTERING_ID ",\"payload\":{\"room\":\"%s\",\"history\":0}}", room);
}

static size_t v1_message(char *out, uint32_t id, const char *room, const char *text) {
    return (size_t)sprintf(out, "{\"type\":\"send_message\",\"id\":%u,\"payload\":{\"room\":\"%s\",\"message\":\"%s\"}}",
                           id + FIRST_MESSAGE_ID, room, text);
}

static enum said v1_read(const char *data, size_t size) {
    if (begins(data, size, "{\"type\":\"ack\",\"id\":" ENTERING_ID ",")) return SAID_ENTERED;
    if (begins(data, size, "{\"type\":\"ack\"")) return SAID_ACK;
    if (begins(data, size, "{\"type\":\"welcome\"")) return SAID_WELCOME;
    // What says that something is not, or no longer, as it was promised.
    static const char *const BAD[] = {"{\"type\":\"error\"", "{\"type\":\"gap\"", "{\"type\":\"removed\""};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        if (begins(data, size, BAD[i])) return SAID_ERROR;
    return SAID_OTHER;
}

// Centrifugo's JSON protocol.

static size_t centrifugo_hello(char *out, const char *token) {
    return (size_t)sprintf(out, "{\"id\":" HELLO_ID ",\"connect\":{\"token\":\"%s\"}}", token);
}

static size_t centrifugo_entering(char *out, const char *room) {
    return (size_t)sprintf(out, "{\"id\":" ENTERING_ID ",\"subscribe\":{\"channel\":\"%s\"}}", room);
}

static size_t centrifugo_message(char *out, uint32_t id, const char *room, const char *text) {
    return (size_t)sprintf(out, "{\"id\":%u,\"publish\":{\"channel\":\"%s\",\"data\":{\"message\":\"%s\"}}}",
                           id + FIRST_MESSAGE_ID, room, text);
}

static enum said centrifugo_read(const char *data, size_t size) {
    if (size == 2 && begins(data, size, "{}")) return SAID_PING;
    if (begins(data, size, "{\"push\"")) return has(data, size, "\"unsubscribe\":") ? SAID_ERROR : SAID_OTHER;
    if (has(data, size, "\"error\":{")) return SAID_ERROR;
    if (has(data, size, "\"publish\":{")) return SAID_ACK;
    if (has(data, size, "\"subscribe\":{")) return SAID_ENTERED;
    return has(data, size, "\"connect\":{") ? SAID_WELCOME : SAID_OTHER;
}

// Socket.IO 5 in Engine.IO 4, and three events of the servers here: "join" and "say", both acknowledged, and "said".

static size_t socketio_hello(char *out, const char *token) {
    return (size_t)sprintf(out, "40{\"token\":\"%s\"}", token);
}

static size_t socketio_entering(char *out, const char *room) {
    return (size_t)sprintf(out, "42" ENTERING_ID "[\"join\",\"%s\"]", room);
}

static size_t socketio_message(char *out, uint32_t id, const char *room, const char *text) {
    return (size_t)sprintf(out, "42%u[\"say\",\"%s\",{\"message\":\"%s\"}]", id + FIRST_MESSAGE_ID, room, text);
}

static enum said socketio_read(const char *data, size_t size) {
    if (begins(data, size, "43" ENTERING_ID "[")) return SAID_ENTERED;
    if (begins(data, size, "43")) return SAID_ACK;
    if (begins(data, size, "44") || begins(data, size, "41")) return SAID_ERROR;
    if (begins(data, size, "40")) return SAID_WELCOME;
    if (begins(data, size, "0")) return SAID_OPEN;
    return size == 1 && data[0] == '2' ? SAID_PING : SAID_OTHER;
}

static const struct protocol PROTOCOLS[] = {
    {
        .name = "classic",
        .path = "/ws",
        .identity = IDENTITY_OTP,
        .mark = "\"new_message\"",
        .write_entering = classic_entering,
        .write_message = classic_message,
        .read = classic_read,
    },
    {
        .name = "v1",
        .path = "/ws",
        .subprotocol = "hubbub.v1",
        .identity = IDENTITY_BEARER,
        .has_acks = true,
        .mark = "\"new_message\"",
        .write_entering = v1_entering,
        .write_message = v1_message,
        .read = v1_read,
    },
    {
        .name = "centrifugo",
        .path = "/connection/websocket",
        .identity = IDENTITY_HELLO,
        .has_acks = true,
        .speaks_first = true,
        .mark = "\"pub\"",
        .pong = "{}",
        .separator = '\n',
        .write_hello = centrifugo_hello,
        .write_entering = centrifugo_entering,
        .write_message = centrifugo_message,
        .read = centrifugo_read,
    },
    {
        .name = "socketio",
        .path = "/socket.io/?EIO=4&transport=websocket",
        .identity = IDENTITY_HELLO,
        .has_acks = true,
        .mark = "\"said\"",
        .pong = "3",
        .write_hello = socketio_hello,
        .write_entering = socketio_entering,
        .write_message = socketio_message,
        .read = socketio_read,
    },
};

#define COUNT (sizeof PROTOCOLS / sizeof *PROTOCOLS)

const struct protocol *protocol_named(const char *name) {
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(PROTOCOLS[i].name, name) == 0) return &PROTOCOLS[i];
    return NULL;
}

const char *protocol_names(void) { return "classic, v1, centrifugo, socketio"; }

const char *room_name(int room) {
    static char name[MAX_ROOM_NAME];
    snprintf(name, sizeof name, "load-%d-%d", (int)getpid(), room);
    return name;
}
