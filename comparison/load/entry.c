#include "entry.h"

#include <string.h>

#include "clock.h"
#include "frames.h"
#include "protocol.h"
#include "say.h"
#include "token.h"

// For a client to get in, or to get out.
#define TIME_LIMIT_S 15
// For each of many, on the average: passwords are slow to check on purpose, but not that slow.
#define AVERAGE_LIMIT_S 0.5

// Edge-triggered: each step goes on until the socket has no more to give.
#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

static const char *state_name(const struct entry *entry) {
    switch (entry->state) {
        case ENTRY_OPENING: return "connecting";
        case ENTRY_READY: return "nothing";
        case ENTRY_LOGGING_IN: return entry->options->token ? "POST /otp" : "POST /login";
        case ENTRY_CONNECTING: return "connecting the WebSocket";
        case ENTRY_UPGRADING: return "the upgrade";
        case ENTRY_ENTERING: return "entering a room";
        case ENTRY_IN: return "the WebSocket";
        case ENTRY_LEAVING: return "closing";
    }
    return "";
}

static _Noreturn void fail(const struct entry *entry, const char *reason) {
    die("client %d: %s: %s", entry->number, state_name(entry), reason);
}

static _Noreturn void fail_to_connect(const struct entry *entry) {
    const struct options *options = entry->options;
    die("client %d: connecting to %s:%d: %s", entry->number, options->host, options->port, connection_error());
}

static void open_login(struct entry *entry) {
    entry->state = ENTRY_OPENING;
    entry->is_login_used = false;
    connection_close(&entry->login);
    if (!connection_start(&entry->login, entry->options->address)) fail_to_connect(entry);
    loop_add(entry->login.fd, &entry->watch, EVENTS);
}

static void send_request(struct entry *entry, struct connection *connection, const char *request, size_t size) {
    entry->received_size = 0;
    // What is wrong with the connection shows again when the answer is read.
    (void)connection_send(connection, request, size);
}

static void log_in(struct entry *entry) {
    char request[MAX_REQUEST];
    entry->state = ENTRY_LOGGING_IN;
    send_request(entry, &entry->login, request, http_write_login(request, entry->options));
}

enum reading { READING_WAITS, READING_DONE, READING_DEAD };

// Read an answer as far as it has come. It is dead when the connection ended before its first byte.
static enum reading read_answer(struct entry *entry, struct connection *connection, struct answer *answer) {
    (void)connection_flush(connection);
    for (;;) {
        size_t room = sizeof entry->received - entry->received_size;
        if (room == 0) fail(entry, "the answer has more than 64 KiB");
        int got = connection_read(connection, entry->received + entry->received_size, room);
        if (got == IO_AGAIN) return READING_WAITS;
        if (got > 0) entry->received_size += (size_t)got;
        if (entry->received_size == 0) return READING_DEAD;
        enum http_progress progress = http_read(entry->received, entry->received_size, got <= 0, answer);
        if (progress == HTTP_COMPLETE) return READING_DONE;
        if (progress == HTTP_BROKEN) fail(entry, "the answer is not HTTP/1.1, or too large");
        if (got <= 0) fail(entry, "the server hung up in the middle of its answer");
    }
}

static _Noreturn void refuse(const struct entry *entry, const struct answer *answer) {
    die("client %d: %s: the server answered %d %.300s", entry->number, state_name(entry), answer->status, answer->body);
}

// The steps. Each returns whether the next one can be tried at once.

static bool open_step(struct entry *entry) {
    int result = connection_advance(&entry->login);
    if (result == IO_FAILED) fail_to_connect(entry);
    if (result == IO_AGAIN) return false;
    entry->state = ENTRY_READY;
    if (!entry->socket) return false;
    log_in(entry);
    return true;
}

static struct answer answer;

static void open_socket(struct entry *entry, const char *pass) {
    entry->state = ENTRY_CONNECTING;
    if (!connection_start(entry->socket, entry->options->address)) fail_to_connect(entry);
    loop_add(entry->socket->fd, &entry->watch, EVENTS);
    // The request is written now and kept, because it needs the one-time password.
    entry->request_size = http_write_upgrade(entry->request, entry->options, pass, entry->number);
}

static bool log_in_step(struct entry *entry) {
    switch (read_answer(entry, &entry->login, &answer)) {
        case READING_WAITS: return false;
        case READING_DEAD:
            // A server may close a connection that is kept alive at any time (RFC 9112 section 9.3.1).
            if (!entry->is_login_used) fail(entry, "the server hung up without an answer");
            open_login(entry);
            return true;
        case READING_DONE: break;
    }
    char otp[MAX_OTP];
    if (answer.status != 200) refuse(entry, &answer);
    if (!http_find_otp(answer.body, otp)) fail(entry, "there is no otp in the server's answer");
    entry->is_login_used = true;
    if (!answer.keeps_open) connection_close(&entry->login);
    open_socket(entry, otp);
    return true;
}

static bool connect_step(struct entry *entry) {
    int result = connection_advance(entry->socket);
    if (result == IO_FAILED) fail_to_connect(entry);
    if (result == IO_AGAIN) return false;
    entry->state = ENTRY_UPGRADING;
    send_request(entry, entry->socket, entry->request, entry->request_size);
    return true;
}

// Tell whoever waits for it; they may begin something new.
static bool finish(struct entry *entry, enum entry_state state) {
    entry->state = state;
    entry->done(entry);
    return entry->state != state;
}

static void drop_received(struct entry *entry, size_t size) {
    entry->received_size -= size;
    memmove(entry->received, entry->received + size, entry->received_size);
}

// Leave what has come to whoever goes on from here.
static void keep_rest(struct entry *entry) {
    bytes_append(&entry->socket->unread, entry->received, entry->received_size);
    entry->received_size = 0;
}

static bool begin_entering(struct entry *entry);

static bool upgrade_step(struct entry *entry) {
    enum reading reading = read_answer(entry, entry->socket, &answer);
    if (reading == READING_WAITS) return false;
    if (reading == READING_DEAD) fail(entry, "the server hung up without an answer");
    if (answer.status != 101) refuse(entry, &answer);
    if (!answer.is_upgraded) fail(entry, "the 101 has a wrong Upgrade or Sec-WebSocket-Accept");
    // Frames may have come with it.
    drop_received(entry, answer.taken);
    if (entry->options->protocol->has_acks) return begin_entering(entry);
    keep_rest(entry);
    return finish(entry, ENTRY_IN);
}

// Who the client is, and its room

static void say_text(struct entry *entry, const char *text, size_t size) {
    uint8_t frame[MAX_FRAME_HEAD + MAX_TOKEN + MAX_AROUND];
    (void)connection_send(entry->socket, frame, frame_write(frame, OPCODE_TEXT, text, size));
}

static void say_hello(struct entry *entry) {
    char token[MAX_TOKEN], text[MAX_TOKEN + MAX_AROUND];
    token_write(token, entry->options->secret, entry->number);
    say_text(entry, text, entry->options->protocol->write_hello(text, token));
}

static bool begin_entering(struct entry *entry) {
    entry->state = ENTRY_ENTERING;
    if (entry->options->protocol->speaks_first) say_hello(entry);
    return true;
}

// Do as one thing that the server has said asks: whether the client is in its room.
static bool take_said(struct entry *entry, const char *said, size_t size) {
    const struct options *options = entry->options;
    char text[MAX_AROUND];
    switch (options->protocol->read(said, size)) {
        case SAID_OPEN: say_hello(entry); break;
        case SAID_WELCOME:
            say_text(entry, text,
                     options->protocol->write_entering(text, room_name(entry->number % options->rooms)));
            break;
        case SAID_ENTERED: return true;
        case SAID_ERROR: die("client %d: the server said %.*s", entry->number, (int)(size < 300 ? size : 300), said);
        case SAID_ACK:
        case SAID_PING:
        case SAID_OTHER: break;
    }
    return false;
}

static bool take_text(struct entry *entry, const struct frame *frame) {
    char separator = entry->options->protocol->separator;
    const char *said = (const char *)frame->payload, *end = said + frame->size;
    bool is_in = false;
    while (said < end) {
        const char *next = separator ? memchr(said, separator, (size_t)(end - said)) : NULL;
        if (!next) next = end;
        is_in |= take_said(entry, said, (size_t)(next - said));
        said = next + 1;
    }
    return is_in;
}

// Handle what has come: whether the client is in its room. What comes after that is kept.
static bool take_frames(struct entry *entry) {
    for (;;) {
        struct frame frame;
        const char *fault;
        ptrdiff_t used = frame_read((uint8_t *)entry->received, entry->received_size, &frame, &fault);
        if (used == FRAME_BROKEN) die("client %d: the server sent %s", entry->number, fault);
        if (used == FRAME_INCOMPLETE) return false;
        if (frame.opcode == OPCODE_CLOSE) fail(entry, "the server closed the connection");
        bool is_in = frame.opcode == OPCODE_TEXT && take_text(entry, &frame);
        drop_received(entry, (size_t)used);
        if (is_in) return true;
    }
}

static bool enter_step(struct entry *entry) {
    (void)connection_flush(entry->socket);
    while (!take_frames(entry)) {
        size_t room = sizeof entry->received - entry->received_size;
        if (room == 0) fail(entry, "the server sent a frame of more than 64 KiB");
        int got = connection_read(entry->socket, entry->received + entry->received_size, room);
        if (got == IO_AGAIN) return false;
        if (got <= 0) fail(entry, "the server hung up");
        entry->received_size += (size_t)got;
    }
    keep_rest(entry);
    return finish(entry, ENTRY_IN);
}

static bool leave_step(struct entry *entry) {
    (void)connection_flush(entry->socket);
    int got;
    do {
        got = connection_read(entry->socket, entry->received, sizeof entry->received);
    } while (got > 0);
    // However the connection ended: it has ended.
    if (got == IO_AGAIN) return false;
    connection_close(entry->socket);
    entry->socket = NULL;
    return finish(entry, ENTRY_READY);
}

static bool step(struct entry *entry) {
    switch (entry->state) {
        case ENTRY_OPENING: return open_step(entry);
        case ENTRY_LOGGING_IN: return log_in_step(entry);
        case ENTRY_CONNECTING: return connect_step(entry);
        case ENTRY_UPGRADING: return upgrade_step(entry);
        case ENTRY_ENTERING: return enter_step(entry);
        case ENTRY_LEAVING: return leave_step(entry);
        case ENTRY_READY:
        case ENTRY_IN: return false;
    }
    return false;
}

static void go_on(struct watch *watch) {
    struct entry *entry = (struct entry *)watch;
    if (entry->is_going) return;  // what is begun when a step is done goes on in that loop
    entry->is_going = true;
    while (step(entry)) continue;
    entry->is_going = false;
}

static void set_deadline(struct entry *entry) { entry->deadline_ns = now_ns() + TIME_LIMIT_S * NS_PER_S; }

// What others call

void entry_prepare(struct entry *entry, const struct options *options, void (*done)(struct entry *)) {
    *entry = (struct entry){.watch = {go_on}, .options = options, .done = done, .login = NO_CONNECTION};
    set_deadline(entry);
    if (options->protocol->identity == IDENTITY_OTP)
        open_login(entry);
    else
        entry->state = ENTRY_READY;
    go_on(&entry->watch);
}

static void begin_with_token(struct entry *entry) {
    char token[MAX_TOKEN];
    token_write(token, entry->options->secret, entry->number);
    open_socket(entry, token);
}

void entry_begin(struct entry *entry, int number, struct connection *socket) {
    entry->number = number;
    entry->socket = socket;
    entry->began_ns = now_ns();
    set_deadline(entry);
    if (entry->options->protocol->identity != IDENTITY_OTP)
        begin_with_token(entry);
    else if (entry->login.fd < 0)
        open_login(entry);
    else
        log_in(entry);
    go_on(&entry->watch);
}

void entry_hand_over(struct entry *entry, struct watch *watch) {
    loop_change(entry->socket->fd, watch, EPOLLIN);
    entry->socket = NULL;
    entry->state = ENTRY_READY;
}

void entry_leave(struct entry *entry) {
    static const uint8_t NORMAL_CLOSURE[] = {1000 >> 8, 1000 & 0xff};
    uint8_t frame[MAX_FRAME_HEAD + sizeof NORMAL_CLOSURE];
    size_t size = frame_write(frame, OPCODE_CLOSE, NORMAL_CLOSURE, sizeof NORMAL_CLOSURE);
    entry->state = ENTRY_LEAVING;
    set_deadline(entry);
    (void)connection_send(entry->socket, frame, size);
    // So that a server that does not answer a Close frame sees an end too.
    connection_end(entry->socket);
    go_on(&entry->watch);
}

uint64_t entry_limit_ns(int count) { return s_to_ns(TIME_LIMIT_S + count * AVERAGE_LIMIT_S); }

void entry_check_deadline(const struct entry *entry, uint64_t now) {
    if (entry->state == ENTRY_READY || entry->state == ENTRY_IN || now < entry->deadline_ns) return;
    die("client %d: %s takes more than %d s", entry->number, state_name(entry), TIME_LIMIT_S);
}

void entry_free(struct entry *entry) { connection_close(&entry->login); }
