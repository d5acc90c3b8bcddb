#include "client.h"

#include <string.h>

#include "clock.h"
#include "say.h"

#define READ_SIZE (256 * 1024)
#define READS_PER_TURN 8
// Of what the server does not read: more is waiting only if it sends pings and takes no answers.
#define MAX_UNSENT (4 << 20)

static text_handler handle_text;
static uint64_t pongs;

void clients_prepare(text_handler handler) { handle_text = handler; }

uint64_t clients_pongs(void) { return pongs; }

// Sending

// Watch for room to send when something waits for it. TLS may hold what the loop cannot see: a socket that can be
// written to brings us back to it.
static void watch_for_what_waits(struct client *client) {
    struct connection *connection = &client->connection;
    bool is_waiting = connection->unsent.size || connection_has_pending(connection);
    uint32_t events = is_waiting ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (events == client->events) return;
    client->events = events;
    loop_change(connection->fd, &client->watch, events);
}

static _Noreturn void fail_to_send(const struct client *client) {
    die("client %d: sending: %s", client->number, connection_error());
}

void client_send(struct client *client, int opcode, const void *payload, size_t size) {
    static uint8_t frame[MAX_FRAME_HEAD + MAX_OWN_PAYLOAD];
    struct connection *connection = &client->connection;
    size_t frame_size = frame_write(frame, opcode, payload, size);
    if (!connection_send(connection, frame, frame_size)) fail_to_send(client);
    if (connection->unsent.size) watch_for_what_waits(client);
    if (connection->unsent.size > MAX_UNSENT) die("client %d: the server does not read", client->number);
}

void client_answer_ping(struct client *client, const char *pong) {
    client_send(client, OPCODE_TEXT, pong, strlen(pong));
    pongs++;
}

// Receiving

static _Noreturn void fail_with_close(const struct client *client, const struct frame *frame) {
    if (frame->size < 2) die("client %d: the server closed the connection without a code", client->number);
    die("client %d: the server closed the connection with %d %.*s", client->number,
        frame->payload[0] << 8 | frame->payload[1], (int)frame->size - 2, (const char *)frame->payload + 2);
}

static void take_frame(struct client *client, const struct frame *frame, uint64_t arrived_ns) {
    switch (frame->opcode) {
        case OPCODE_TEXT: handle_text(client, frame, arrived_ns); break;
        case OPCODE_PING:
            client_send(client, OPCODE_PONG, frame->payload, frame->size);
            pongs++;
            break;
        case OPCODE_CLOSE: fail_with_close(client, frame);
    }
}

// Handle all complete frames: the bytes that they take.
static size_t take_frames(struct client *client, const uint8_t *data, size_t size) {
    uint64_t arrived_ns = now_ns();
    size_t taken = 0;
    for (;;) {
        struct frame frame;
        const char *fault;
        ptrdiff_t used = frame_read(data + taken, size - taken, &frame, &fault);
        if (used == FRAME_BROKEN) die("client %d: the server sent %s", client->number, fault);
        if (used == FRAME_INCOMPLETE) return taken;
        take_frame(client, &frame, arrived_ns);
        taken += (size_t)used;
    }
}

// All clients read into the same memory, which stays in the processor's cache. Only the beginning of a frame whose rest
// has not come is kept with the client.
static void read_all(struct client *client) {
    static uint8_t inbox[MAX_FRAME + READ_SIZE];
    struct connection *connection = &client->connection;
    size_t held = connection->unread.size;
    if (held) memcpy(inbox, connection->unread.data, held);
    connection->unread.size = 0;
    for (int i = 0; i < READS_PER_TURN; i++) {
        int got = connection_read(connection, inbox + held, READ_SIZE);
        if (got == IO_AGAIN) break;
        if (got == IO_FAILED) die("client %d: receiving: %s", client->number, connection_error());
        if (got == 0) die("client %d: the server hung up without a close frame", client->number);
        held += (size_t)got;
        size_t taken = take_frames(client, inbox, held);
        held -= taken;
        if (held) memmove(inbox, inbox + taken, held);
        // A read that was not filled has emptied the socket; with TLS, each gives one record.
        if (connection->ssl ? !connection_has_pending(connection) : got < READ_SIZE) break;
    }
    bytes_append(&connection->unread, inbox, held);
}

static void on_ready(struct watch *watch) {
    struct client *client = (struct client *)watch;
    struct connection *connection = &client->connection;
    if (!connection_flush(connection)) fail_to_send(client);
    read_all(client);
    watch_for_what_waits(client);
}

void client_begin(struct client *client) {
    client->watch.ready = on_ready;
    client->events = EPOLLIN;
    watch_for_what_waits(client);
}
