#include "storm.h"

#include <math.h>
#include <stdlib.h>

#include "clock.h"
#include "entry.h"
#include "histogram.h"
#include "proc.h"
#include "report.h"
#include "say.h"

// The server may be busy with a connection for a moment after its client has gone.
#define AFTERWORK_NS (50 * NS_PER_MS)
#define CHECK_NS (250 * NS_PER_MS)

struct door {
    struct entry entry;
    struct connection socket;
};

static const struct options *options;
static struct door *doors;
static int begun, entered, left;
static struct histogram latencies;
static uint64_t last_entered_ns;

static void begin_next(struct entry *entry) {
    // The entry is the first member of its door.
    if (begun < options->connects) entry_begin(entry, begun++, &((struct door *)entry)->socket);
}

static void on_done(struct entry *entry) {
    if (entry->state == ENTRY_IN) {
        last_entered_ns = now_ns();
        histogram_add(&latencies, last_entered_ns - entry->began_ns);
        entered++;
        entry_leave(entry);
    } else {
        left++;
        begin_next(entry);
    }
}

static void turn(uint64_t over_ns) {
    static uint64_t check_ns;
    loop_turn(now_ns() + CHECK_NS);
    uint64_t now = now_ns();
    if (now < check_ns) return;
    check_ns = now + CHECK_NS;
    for (int i = 0; i < options->in_flight; i++) entry_check_deadline(&doors[i].entry, now);
    if (now > over_ns) die("only %d of %d connections were made in time", entered, options->connects);
}

// Each door has its connection for logins before the clock starts.
static void open_doors(uint64_t over_ns) {
    doors = calloc((size_t)options->in_flight, sizeof *doors);
    if (!doors) die("out of memory");
    for (int i = 0; i < options->in_flight; i++) {
        doors[i].socket = NO_CONNECTION;
        entry_prepare(&doors[i].entry, options, on_done);
    }
    for (int i = 0; i < options->in_flight; i++)
        while (doors[i].entry.state != ENTRY_READY) turn(over_ns);
}

void storm_run(const struct options *given) {
    options = given;
    uint64_t over_ns = now_ns() + entry_limit_ns(options->connects);
    open_doors(over_ns);
    pid_t pid = options->pid;
    uint64_t server_cpu_ns = pid ? cpu_ns_of(pid) : 0, load_cpu_ns = own_cpu_ns(), began_ns = now_ns();
    for (int i = 0; i < options->in_flight; i++) begin_next(&doors[i].entry);
    while (left < options->connects) turn(over_ns);
    uint64_t ended_ns = now_ns();
    load_cpu_ns = own_cpu_ns() - load_cpu_ns;
    for (uint64_t until_ns = ended_ns + AFTERWORK_NS; now_ns() < until_ns;) loop_turn(until_ns);
    double cpu_s = pid ? ns_to_s(cpu_ns_of(pid) - server_cpu_ns) : NAN, wall_s = ns_to_s(ended_ns - began_ns);
    report_begin();
    report_text("mode", mode_name(options->mode));
    report_text("protocol", options->protocol->name);
    report_text("transport", options->is_tls ? "tls" : "tcp");
    report_count("connects", options->connects);
    report_count("in_flight", options->in_flight);
    report_figure("connects_per_s", options->connects / ns_to_s(last_entered_ns - began_ns), 1);
    report_figure("connect_cpu_us", cpu_s / options->connects * 1e6, 1);
    report_latency(&latencies);
    report_figure("server_cpu", cpu_s / wall_s, 3);
    report_figure("load_cpu", ns_to_s(load_cpu_ns) / wall_s, 3);
    report_figure("rss_mib", pid ? (double)rss_of(pid) / (1 << 20) : NAN, 1);
    report_end();
    for (int i = 0; i < options->in_flight; i++) entry_free(&doors[i].entry);
    free(doors);
}
