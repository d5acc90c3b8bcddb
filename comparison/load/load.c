#include "load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "clock.h"
#include "entry.h"
#include "histogram.h"
#include "loop.h"
#include "message.h"
#include "proc.h"
#include "report.h"
#include "say.h"

// The server may be busy with a client for a moment after it was let in.
#define AFTERWORK_NS (50 * NS_PER_MS)
// Before memory is measured, so that what is freed late is freed.
#define REST_NS NS_PER_S
// A message that takes longer than this after the end of sending is missing.
#define DRAIN_NS NS_PER_S
#define TURN_NS (250 * NS_PER_MS)
// Before the load, each room has messages until all of its clients have got one. Nothing is due at the time 0.
#define PROBE 0
#define PROBE_EVERY_NS (250 * NS_PER_MS)
#define PROBE_LIMIT_S 10
// How many messages that are due may go out before something is read again.
#define SENDS_PER_TURN 64
// What is due while so many bytes of its sender's earlier messages wait is not sent.
#define MAX_BEHIND (1 << 20)

// What the server and we have used up at one moment.
struct usage {
    uint64_t at_ns;
    uint64_t server_cpu_ns;
    uint64_t load_cpu_ns;
    uint64_t server_rss;
};

static const struct options *options;
static struct client *clients;
static int in_count;     // clients that are in
static int ready_count;  // clients that are in their room

// The measured part, and what belongs to it: messages that were due in it, whenever they arrive.
static uint64_t start_ns, end_ns;
static uint64_t due, sent, expected;
static struct histogram latencies;
// Deliveries that are still to come, of the warm-up too: a loss there stops a closed loop for good.
static int64_t outstanding;
// Messages that the server has not yet answered, where the protocol has it that it does.
static int64_t unacked;
// What arrived in it, whenever it was due.
static bool is_measuring;
static uint64_t delivered, delivered_bytes;

// The server's process

static struct usage usage_now(void) {
    struct usage usage = {.at_ns = now_ns(), .load_cpu_ns = own_cpu_ns()};
    if (options->pid) {
        usage.server_cpu_ns = cpu_ns_of(options->pid);
        usage.server_rss = rss_of(options->pid);
    }
    return usage;
}

static double server_cpu_s(const struct usage *from, const struct usage *to) {
    return options->pid ? ns_to_s(to->server_cpu_ns - from->server_cpu_ns) : NAN;
}

static void run_until(uint64_t until_ns) {
    while (now_ns() < until_ns) loop_turn(until_ns);
}

// Rooms: client i is in room i % rooms

static int members_of(int room) {
    return options->clients / options->rooms + (room < options->clients % options->rooms);
}

static int recipients_of(int room) { return members_of(room) - options->is_named; }

static int sender_count(void) { return options->senders * options->rooms; }

// Messages

static void send_message(struct client *client, uint64_t due_ns) {
    size_t size;
    struct stamp stamp = {.due_ns = due_ns, .sender = (uint32_t)client->number};
    const char *said = message_write(stamp, client->room, &size);
    client_send(client, OPCODE_TEXT, said, size);
    unacked += options->protocol->has_acks;
}

static bool is_measured(uint64_t due_ns) { return due_ns >= start_ns && due_ns < end_ns; }

static void send_and_count(struct client *client, uint64_t due_ns) {
    send_message(client, due_ns);
    int recipients = recipients_of(client->room);
    outstanding += recipients;
    if (!is_measured(due_ns)) return;
    sent++;
    expected += (uint64_t)recipients;
}

static void fill_window(struct client *client) {
    for (uint64_t now = now_ns(); client->in_flight < options->window && now < end_ns; now = now_ns()) {
        client->in_flight++;
        send_and_count(client, now);
    }
}

static void take_probe(struct client *client) {
    ready_count += !client->is_in_room;
    client->is_in_room = true;
}

static void take_message(struct client *client, struct stamp stamp, size_t size, uint64_t arrived_ns) {
    if (stamp.sender >= (uint32_t)options->clients || clients[stamp.sender].room != client->room)
        die("client %d: the server sent a message of another room", client->number);
    if (stamp.due_ns == PROBE) {
        take_probe(client);
        return;
    }
    if (is_measuring) {
        delivered++;
        delivered_bytes += size;
    }
    if (is_measured(stamp.due_ns)) histogram_add(&latencies, arrived_ns - stamp.due_ns);
    outstanding--;
    if (options->mode == MODE_WINDOW && client->is_observer) {
        struct client *sender = &clients[stamp.sender];
        if (sender->in_flight) sender->in_flight--;  // a message that came twice does not count twice
        fill_window(sender);
    }
}

static void take_said(struct client *client, const char *said, size_t size, uint64_t arrived_ns) {
    struct stamp stamp;
    if (message_read((const uint8_t *)said, size, &stamp)) {
        take_message(client, stamp, size, arrived_ns);
        return;
    }
    switch (options->protocol->read(said, size)) {
        case SAID_ACK: unacked--; break;
        case SAID_PING: client_answer_ping(client, options->protocol->pong); break;
        case SAID_ERROR: die("client %d: the server said %.*s", client->number, (int)(size < 300 ? size : 300), said);
        case SAID_OPEN:
        case SAID_WELCOME:
        case SAID_ENTERED:
        case SAID_OTHER: break;
    }
}

static void take_text(struct client *client, const struct frame *frame, uint64_t arrived_ns) {
    char separator = options->protocol->separator;
    const char *said = (const char *)frame->payload, *end = said + frame->size;
    while (said < end) {
        const char *next = separator ? memchr(said, separator, (size_t)(end - said)) : NULL;
        if (!next) next = end;
        take_said(client, said, (size_t)(next - said), arrived_ns);
        said = next + 1;
    }
}

// Getting in

static void let_in(struct entry *entry, int number) {
    struct client *client = &clients[number];
    *client = (struct client){.number = number, .room = number % options->rooms, .connection = NO_CONNECTION};
    client->is_observer = number / options->rooms == members_of(client->room) - 1;
    entry_begin(entry, number, &client->connection);
}

static void on_entered(struct entry *entry) {
    struct client *client = &clients[in_count++];
    entry_hand_over(entry, &client->watch);
    client_begin(client);
    if (in_count < options->clients) let_in(entry, in_count);
}

// One after another, so that the server's CPU time can be told for one.
static void let_all_in(void) {
    static struct entry entry;
    uint64_t over_ns = now_ns() + entry_limit_ns(options->clients);
    entry_prepare(&entry, options, on_entered);
    while (entry.state != ENTRY_READY) {
        loop_turn(now_ns() + TURN_NS);
        entry_check_deadline(&entry, now_ns());
    }
    let_in(&entry, 0);
    while (in_count < options->clients) {
        loop_turn(now_ns() + TURN_NS);
        entry_check_deadline(&entry, now_ns());
        if (now_ns() > over_ns) die("only %d of %d clients were let in in time", in_count, options->clients);
    }
    run_until(now_ns() + AFTERWORK_NS);
    entry_free(&entry);
}

static void enter_rooms(void) {
    char said[MAX_AROUND];
    for (int i = 0; i < options->clients; i++)
        client_send(&clients[i], OPCODE_TEXT, said, options->protocol->write_entering(said, room_name(clients[i].room)));
}

// The classic dialect has no answer to change_room: a client is in its room when a message of the room comes.
static void wait_for_rooms(void) {
    uint64_t over_ns = now_ns() + PROBE_LIMIT_S * NS_PER_S;
    // The first client of each room sends the probes, and does not get them if it is named.
    for (int room = 0; room < options->rooms && options->is_named; room++) take_probe(&clients[room]);
    while (ready_count < options->clients) {
        if (now_ns() > over_ns)
            die("%d of %d clients got no message of their room in %d s", options->clients - ready_count,
                options->clients, PROBE_LIMIT_S);
        for (int room = 0; room < options->rooms; room++) send_message(&clients[room], PROBE);
        uint64_t again_ns = now_ns() + PROBE_EVERY_NS;
        while (ready_count < options->clients && now_ns() < again_ns) loop_turn(again_ns);
    }
}

// The load

// The number of the next message of an open loop. All senders take turns, and messages are due evenly; with --together
// it is the turn of one room after another, and its messages are due with the first of them; with --random, moments and
// senders are those of a Poisson process, the same in every run.
static uint64_t next;
static double random_ns;  // when the next one is due, since the begin
static uint64_t random_state = 0x9e3779b97f4a7c15;

// xorshift64* (Vigna 2016)
static uint64_t random_number(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1d;
}

static double messages_per_ns(void) { return options->rate * sender_count() / 1e9; }

static uint64_t due_of_next(uint64_t begin_ns) {
    if (options->is_random) return begin_ns + (uint64_t)random_ns;
    uint64_t slot = options->is_together ? next - next % (uint64_t)options->senders : next;
    return begin_ns + (uint64_t)((double)slot / messages_per_ns());
}

static struct client *sender_of_next(void) {
    if (options->is_random) return &clients[random_state % (uint64_t)sender_count()];
    int turn = (int)(next % (uint64_t)sender_count());
    return &clients[options->is_together ? turn % options->senders * options->rooms + turn / options->senders : turn];
}

static void advance(void) {
    next++;
    // The gaps of a Poisson process are exponential; the 53 bits are of (0, 1].
    if (options->is_random) random_ns -= log(((double)(random_number() >> 11) + 1) / (1ull << 53)) / messages_per_ns();
}

// Send what is due: when the next message is due.
static uint64_t send_due(uint64_t begin_ns) {
    uint64_t now = now_ns();
    for (int i = 0; i < SENDS_PER_TURN; i++, advance()) {
        uint64_t due_ns = due_of_next(begin_ns);
        if (due_ns > now || due_ns >= end_ns) return due_ns;
        due += is_measured(due_ns);
        struct client *sender = sender_of_next();
        if (sender->connection.unsent.size < MAX_BEHIND) send_and_count(sender, due_ns);
    }
    return now;
}

static void send_until(uint64_t begin_ns, uint64_t until_ns) {
    while (now_ns() < until_ns) {
        uint64_t next_ns = options->mode == MODE_RATE ? send_due(begin_ns) : until_ns;
        loop_turn(next_ns < until_ns ? next_ns : until_ns);
    }
}

// Send what was due before the end and is late, and wait for what is still on its way.
static void drain(uint64_t begin_ns) {
    uint64_t until_ns = now_ns() + DRAIN_NS;
    while (now_ns() < until_ns) {
        uint64_t next_ns = options->mode == MODE_RATE ? send_due(begin_ns) : end_ns;
        if (next_ns >= end_ns && outstanding <= 0 && unacked <= 0) break;
        loop_turn(next_ns < end_ns ? next_ns : until_ns);
    }
    if (options->mode == MODE_WINDOW) due = sent;
    if (options->mode == MODE_RATE)
        for (; due_of_next(begin_ns) < end_ns; advance()) due++;
}

static void measure(struct usage *from, struct usage *to) {
    uint64_t begin_ns = now_ns();
    start_ns = begin_ns + s_to_ns(options->mode == MODE_IDLE ? 0 : options->warm_up_s);
    end_ns = start_ns + s_to_ns(options->seconds);
    for (int i = 0; i < sender_count() && options->mode == MODE_WINDOW; i++) fill_window(&clients[i]);
    send_until(begin_ns, start_ns);
    *from = usage_now();
    is_measuring = true;
    send_until(begin_ns, end_ns);
    is_measuring = false;
    *to = usage_now();
    if (options->mode != MODE_IDLE) drain(begin_ns);
}

// The result

static void report_settings(void) {
    report_text("mode", mode_name(options->mode));
    report_text("protocol", options->protocol->name);
    report_text("transport", options->is_tls ? "tls" : "tcp");
    report_count("clients", options->clients);
    report_count("rooms", options->rooms);
    if (options->mode == MODE_IDLE) return;
    report_count("senders", sender_count());
    if (options->mode == MODE_WINDOW) report_count("window", options->window);
    if (options->mode == MODE_RATE) {
        report_figure("rate", options->rate, 3);
        report_text("due", options->is_together ? "together" : options->is_random ? "random" : "spread");
    }
    report_count("size", options->size);
}

static void report_entry(const struct usage *before, const struct usage *entered, const struct usage *rested) {
    double growth = options->pid ? ((double)rested->server_rss - (double)before->server_rss) / 1024 : NAN;
    report_figure("connects_per_s", options->clients / ns_to_s(entered->at_ns - AFTERWORK_NS - before->at_ns), 1);
    report_figure("connect_cpu_us", server_cpu_s(before, entered) / options->clients * 1e6, 1);
    report_figure("kib_per_connection", growth / options->clients, 2);
}

static void report_messages(const struct usage *from, const struct usage *to) {
    double wall_s = ns_to_s(to->at_ns - from->at_ns);
    report_figure("sent_per_s", (double)sent / options->seconds, 1);
    report_figure("deliveries_per_s", (double)delivered / wall_s, 1);
    report_figure("expected_per_s", (double)expected / options->seconds, 1);
    report_latency(&latencies);
    report_figure("cpu_us_per_delivery", server_cpu_s(from, to) / (double)delivered * 1e6, 3);
    report_figure("mbytes_per_s", (double)delivered_bytes / wall_s / 1e6, 2);
    report_count("unsent", (int64_t)(due - sent));
    report_count("missing", outstanding);
    report_count("unacked", unacked);
}

static void report_usage(const struct usage *from, const struct usage *to) {
    double wall_s = ns_to_s(to->at_ns - from->at_ns);
    report_figure("server_cpu", server_cpu_s(from, to) / wall_s, 3);
    report_figure("load_cpu", ns_to_s(to->load_cpu_ns - from->load_cpu_ns) / wall_s, 3);
    report_figure("rss_mib", options->pid ? (double)to->server_rss / (1 << 20) : NAN, 1);
}

void load_run(const struct options *given) {
    options = given;
    clients = calloc((size_t)options->clients, sizeof *clients);
    if (!clients) die("out of memory");
    clients_prepare(take_text);
    messages_prepare(options->protocol, options->size);

    struct usage before = usage_now();
    let_all_in();
    struct usage entered = usage_now();
    if (!options->protocol->has_acks) enter_rooms();
    run_until(now_ns() + REST_NS);
    struct usage rested = usage_now(), from, to;
    if (options->mode != MODE_IDLE) wait_for_rooms();
    uint64_t pongs = clients_pongs();
    measure(&from, &to);
    pongs = clients_pongs() - pongs;

    report_begin();
    report_settings();
    report_entry(&before, &entered, &rested);
    if (options->mode != MODE_IDLE) report_messages(&from, &to);
    report_usage(&from, &to);
    report_count("pings_answered", (int64_t)pongs);
    report_end();
    for (int i = 0; i < options->clients; i++) connection_close(&clients[i].connection);
    free(clients);
}
