// What clients and servers say to each other in WebSocket frames: one table for each protocol.
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_ROOM_NAME 32
// Of what is written beside the text of a message, and of a token.
#define MAX_AROUND 256

// How a server is told who a client is.
enum identity {
    IDENTITY_OTP,     // a one-time password in the URL of the upgrade
    IDENTITY_BEARER,  // a token in the head of the upgrade
    IDENTITY_HELLO,   // a token in the first thing that the client says
};

// What a server has said.
enum said {
    SAID_OTHER,
    SAID_OPEN,     // now the client is to say who it is
    SAID_WELCOME,  // the client is known, and may enter a room
    SAID_ENTERED,  // the client is in the room
    SAID_ACK,      // a message of the client is taken
    SAID_PING,     // to be answered with `pong`
    SAID_ERROR,
};

struct protocol {
    const char *name;
    const char *path;         // of the WebSocket
    const char *subprotocol;  // offered at the upgrade; NULL for none
    enum identity identity;
    bool has_acks;      // entering a room and each message are answered
    bool speaks_first;  // the client says hello without being asked
    const char *mark;   // what an event with a message has before it
    const char *pong;
    char separator;     // between what is said in one frame; NUL where it is always one thing
    // Write what a client says: its size. `out` has MAX_AROUND more than the token or the text.
    size_t (*write_hello)(char *out, const char *token);
    size_t (*write_entering)(char *out, const char *room);
    size_t (*write_message)(char *out, uint32_t id, const char *room, const char *text);
    // What the server has said, which is no message.
    enum said (*read)(const char *data, size_t size);
};

// NULL: there is none of that name.
const struct protocol *protocol_named(const char *name);

// The names of all, for a help or an error.
const char *protocol_names(void);

// The name of a room: the process's id keeps the rooms of two runs apart.
const char *room_name(int room);

#endif
