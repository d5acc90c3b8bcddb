#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "say.h"

#define MAX_TEXT 4096

static const char HELP[] =
    "Usage: loadgen --port P (--window N | --rate N | --idle | --connects N) [OPTION...]\n"
    "\n"
    "Puts a chat server on this machine under load, and prints what it found as one JSON object.\n"
    "\n"
    "Load, one of\n"
    "  --window N         each sender has N messages in flight: as fast as the server goes\n"
    "  --rate N           each sender sends N messages a second, whatever the server does\n"
    "  --random           with --rate: at random moments, from any sender (a Poisson process)\n"
    "  --together         with --rate: all senders of a room send at the same moment\n"
    "  --idle             connections that keep quiet\n"
    "  --connects N       open and close N connections\n"
    "Server\n"
    "  --port P           its port\n"
    "  --host ADDRESS     an address in 127.0.0.0/8; 127.0.0.1\n"
    "  --protocol NAME    classic, v1, centrifugo, or socketio; classic\n"
    "  --tls              TLS 1.3, the certificate unchecked\n"
    "  --path PATH        of the WebSocket; that of the protocol\n"
    "  --origin ORIGIN    sent as Origin; without it, none\n"
    "  --pid PID          the server's process, to measure its CPU time and memory\n"
    "Account\n"
    "  --user NAME        percy\n"
    "  --password TEXT    123\n"
    "  --token TOKEN      of a login: each connection takes POST /otp instead of POST /login\n"
    "  --secret TEXT      sign a token for each connection, a user of its own (all protocols but classic)\n"
    "  --named            name= in the URL: senders do not get their own messages\n"
    "Amount\n"
    "  --clients N        connections in all; 100\n"
    "  --rooms N          rooms that they are spread over; 1\n"
    "  --senders N        clients of each room that send; 1\n"
    "  --size N           bytes in the text of a message; 90\n"
    "  --in-flight K      with --connects: connections on their way at a time; 50\n"
    "  --warm-up S        seconds of load before the measured part; 1\n"
    "  --seconds S        seconds of the measured part; 5\n";

enum choice {
    HELP_,
    HOST,
    PORT,
    PROTOCOL,
    TLS,
    PATH,
    ORIGIN,
    PID,
    USER,
    PASSWORD,
    TOKEN,
    SECRET,
    NAMED,
    CLIENTS,
    ROOMS,
    SENDERS,
    WINDOW,
    RATE,
    RANDOM,
    TOGETHER,
    IDLE,
    CONNECTS,
    IN_FLIGHT,
    SIZE,
    WARM_UP,
    SECONDS,
    OPTION_COUNT,
};

static const struct option LONG_OPTIONS[] = {
    {"help", no_argument, NULL, HELP_},
    {"host", required_argument, NULL, HOST},
    {"port", required_argument, NULL, PORT},
    {"protocol", required_argument, NULL, PROTOCOL},
    {"tls", no_argument, NULL, TLS},
    {"path", required_argument, NULL, PATH},
    {"origin", required_argument, NULL, ORIGIN},
    {"pid", required_argument, NULL, PID},
    {"user", required_argument, NULL, USER},
    {"password", required_argument, NULL, PASSWORD},
    {"token", required_argument, NULL, TOKEN},
    {"secret", required_argument, NULL, SECRET},
    {"named", no_argument, NULL, NAMED},
    {"clients", required_argument, NULL, CLIENTS},
    {"rooms", required_argument, NULL, ROOMS},
    {"senders", required_argument, NULL, SENDERS},
    {"window", required_argument, NULL, WINDOW},
    {"rate", required_argument, NULL, RATE},
    {"random", no_argument, NULL, RANDOM},
    {"together", no_argument, NULL, TOGETHER},
    {"idle", no_argument, NULL, IDLE},
    {"connects", required_argument, NULL, CONNECTS},
    {"in-flight", required_argument, NULL, IN_FLIGHT},
    {"size", required_argument, NULL, SIZE},
    {"warm-up", required_argument, NULL, WARM_UP},
    {"seconds", required_argument, NULL, SECONDS},
    {NULL, 0, NULL, 0},
};

const char *mode_name(enum mode mode) {
    switch (mode) {
        case MODE_RATE: return "rate";
        case MODE_WINDOW: return "window";
        case MODE_IDLE: return "idle";
        case MODE_CONNECTS: return "connects";
    }
    return "";
}

// One value

static int whole_number(enum choice option, const char *text, int min, int max) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < min || value > max)
        die("--%s: %s is not a whole number from %d to %d", LONG_OPTIONS[option].name, text, min, max);
    return (int)value;
}

static double number(enum choice option, const char *text, double min, double max) {
    char *end;
    double value = strtod(text, &end);
    // The comparison is made so that NaN fails it.
    if (end == text || *end || !(value >= min && value <= max))
        die("--%s: %s is not a number from %g to %g", LONG_OPTIONS[option].name, text, min, max);
    return value;
}

// What goes into a request must not end its line, nor split it.
static const char *word(enum choice option, const char *text) {
    size_t size = strlen(text);
    if (size == 0 || size > MAX_TEXT) die("--%s: give 1 to %d characters", LONG_OPTIONS[option].name, MAX_TEXT);
    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~') die("--%s: only ASCII without spaces can be sent", LONG_OPTIONS[option].name);
    return text;
}

// What goes into a JSON string, which we do not escape.
static const char *plain_text(enum choice option, const char *text) {
    if (strlen(text) > MAX_TEXT) die("--%s: has at most %d characters", LONG_OPTIONS[option].name, MAX_TEXT);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < ' ' || *c == '"' || *c == '\\')
            die("--%s: quotes, backslashes and control characters cannot be sent", LONG_OPTIONS[option].name);
    return text;
}

static struct in_addr local_address(const char *text) {
    struct in_addr address;
    if (inet_pton(AF_INET, text, &address) != 1 || ntohl(address.s_addr) >> 24 != 127)
        die("--host: %s is not an address in 127.0.0.0/8; this load is for the own machine only", text);
    return address;
}

static const struct protocol *protocol_of(const char *text) {
    const struct protocol *protocol = protocol_named(text);
    if (!protocol) die("--protocol: there are %s", protocol_names());
    return protocol;
}

// The whole

static void take(struct options *options, enum choice option, const char *text) {
    switch (option) {
        case HELP_:
            fputs(HELP, stdout);
            exit(0);
        case HOST: options->address.sin_addr = local_address(text); break;
        case PORT: options->port = whole_number(option, text, 1, 65535); break;
        case PROTOCOL: options->protocol = protocol_of(text); break;
        case TLS: options->is_tls = true; break;
        case PATH: options->path = word(option, text); break;
        case ORIGIN: options->origin = word(option, text); break;
        case PID: options->pid = whole_number(option, text, 1, INT_MAX); break;
        case USER: options->user = plain_text(option, text); break;
        case PASSWORD: options->password = plain_text(option, text); break;
        case TOKEN: options->token = word(option, text); break;
        case SECRET: options->secret = word(option, text); break;
        case NAMED: options->is_named = true; break;
        case CLIENTS: options->clients = whole_number(option, text, 1, MAX_CLIENTS); break;
        case ROOMS: options->rooms = whole_number(option, text, 1, MAX_CLIENTS); break;
        case SENDERS: options->senders = whole_number(option, text, 1, MAX_CLIENTS); break;
        case WINDOW: options->window = whole_number(option, text, 1, 10000); break;
        case RATE: options->rate = number(option, text, 0.001, 1e6); break;
        case RANDOM: options->is_random = true; break;
        case TOGETHER: options->is_together = true; break;
        case IDLE: break;
        case CONNECTS: options->connects = whole_number(option, text, 1, 10000000); break;
        case IN_FLIGHT: options->in_flight = whole_number(option, text, 1, MAX_IN_FLIGHT); break;
        case SIZE: options->size = whole_number(option, text, STAMP_SIZE, MAX_MESSAGE); break;
        case WARM_UP: options->warm_up_s = number(option, text, 0, 3600); break;
        case SECONDS: options->seconds = number(option, text, 0.1, 3600); break;
        case OPTION_COUNT: break;
    }
}

static enum mode chosen_mode(const bool *is_given) {
    const struct {
        enum choice option;
        enum mode mode;
    } modes[] = {{WINDOW, MODE_WINDOW}, {RATE, MODE_RATE}, {IDLE, MODE_IDLE}, {CONNECTS, MODE_CONNECTS}};
    int count = 0;
    enum mode mode = MODE_WINDOW;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (!is_given[modes[i].option]) continue;
        mode = modes[i].mode;
        count++;
    }
    if (count != 1) die("give one of --window, --rate, --idle and --connects");
    return mode;
}

static void check_combination(const struct options *options) {
    if (!options->port) die("--port is missing");
    if (options->path[0] != '/') die("--path: %s does not begin with /", options->path);
    bool has_tokens = options->protocol->identity != IDENTITY_OTP;
    if (has_tokens != (options->secret != NULL))
        die("--secret %s with --protocol %s", has_tokens ? "is missing" : "does not go", options->protocol->name);
    if (options->is_named && has_tokens) die("--named goes with --protocol classic");
    if (options->is_random && options->mode != MODE_RATE) die("--random goes with --rate");
    if (options->is_random && options->is_together) die("--random does not go with --together");
    if (options->is_together && options->mode != MODE_RATE) die("--together goes with --rate");
    if (options->mode == MODE_CONNECTS) return;
    if (options->rooms > options->clients)
        die("--rooms: %d rooms are too many for %d clients", options->rooms, options->clients);
    if (options->mode == MODE_IDLE) return;
    int smallest = options->clients / options->rooms;
    if (options->senders > smallest)
        die("--senders: %d are too many for rooms of %d", options->senders, smallest);
    // Whoever tells that a message is back has to get it.
    if (options->is_named && options->senders == smallest)
        die("--senders: with --named, a room of %d needs a client that does not send", smallest);
}

struct options options_read(int count, char **words) {
    struct options options = {
        .address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
        .protocol = protocol_named("classic"),
        .user = "percy",
        .password = "123",
        .clients = 100,
        .rooms = 1,
        .senders = 1,
        .size = 90,
        .in_flight = 50,
        .warm_up_s = 1,
        .seconds = 5,
    };
    bool is_given[OPTION_COUNT] = {false};
    char name[] = "loadgen";
    words[0] = name;  // what getopt's own messages begin with
    int option;
    while ((option = getopt_long(count, words, "", LONG_OPTIONS, NULL)) != -1) {
        if (option == '?') exit(1);  // getopt has said what was wrong
        is_given[option] = true;
        take(&options, (enum choice)option, optarg);
    }
    if (optind < count) die("%s is not an option", words[optind]);
    options.mode = chosen_mode(is_given);
    if (!options.path) options.path = options.protocol->path;
    check_combination(&options);
    options.address.sin_port = htons((uint16_t)options.port);
    inet_ntop(AF_INET, &options.address.sin_addr, options.host, sizeof options.host);
    return options;
}
