// How a client gets in: a login on a connection kept for that, where the protocol takes one; then a new connection, its
// upgrade to WebSocket, and its room.
#ifndef ENTRY_H
#define ENTRY_H

#include <stdint.h>

#include "connection.h"
#include "http.h"
#include "loop.h"
#include "options.h"

enum entry_state {
    ENTRY_OPENING,     // the login's connection
    ENTRY_READY,       // that one is open; nothing is under way
    ENTRY_LOGGING_IN,  // the login is sent
    ENTRY_CONNECTING,  // the WebSocket's connection
    ENTRY_UPGRADING,   // the upgrade is sent
    ENTRY_ENTERING,    // who it is and its room are told, where the protocol answers that
    ENTRY_IN,          // a WebSocket, and in its room where that is answered: whoever asked for it goes on from here
    ENTRY_LEAVING,     // it was told to close, and the server has not yet
};

// One place at the door. It lets one client after another in.
struct entry {
    struct watch watch;
    void (*done)(struct entry *entry);  // called when it is ENTRY_IN, and when it is ENTRY_READY after leaving
    const struct options *options;
    enum entry_state state;
    bool is_going;
    int number;  // of the client that is on its way
    uint64_t began_ns;
    uint64_t deadline_ns;
    struct connection login;
    bool is_login_used;  // an answer came on it: if it is dead now, the server had enough of it
    struct connection *socket;  // to become the client's WebSocket
    size_t request_size;
    char request[MAX_REQUEST];
    size_t received_size;
    char received[MAX_ANSWER];
};

// Open the connection for logins; it is ENTRY_READY when that is done.
void entry_prepare(struct entry *entry, const struct options *options, void (*done)(struct entry *entry));

// Let a client in, on an entry that is ENTRY_READY; it is ENTRY_IN when that is done.
void entry_begin(struct entry *entry, int number, struct connection *socket);

// Give the WebSocket of an entry that is ENTRY_IN to another watch; the entry is ENTRY_READY.
void entry_hand_over(struct entry *entry, struct watch *watch);

// Close the WebSocket of an entry that is ENTRY_IN; it is ENTRY_READY when the server has closed too.
void entry_leave(struct entry *entry);

// Give up with an error if a step takes too long.
void entry_check_deadline(const struct entry *entry, uint64_t now);

// How long it may take to let so many in.
uint64_t entry_limit_ns(int count);

void entry_free(struct entry *entry);

#endif
