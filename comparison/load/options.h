// What the load generator was asked to do.
#ifndef OPTIONS_H
#define OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/types.h>

#include "protocol.h"

#define MAX_CLIENTS 100000
#define MAX_IN_FLIGHT 10000

enum mode {
    MODE_RATE,      // open loop: messages are due at fixed times
    MODE_WINDOW,    // closed loop: a message that is back lets the next one go
    MODE_IDLE,      // connections that keep quiet
    MODE_CONNECTS,  // connections that come and go
};

struct options {
    enum mode mode;

    // Where to go
    struct sockaddr_in address;
    char host[INET_ADDRSTRLEN];
    int port;
    bool is_tls;
    const char *path;
    const struct protocol *protocol;
    const char *origin;  // NULL: none is sent

    // Who to be
    const char *user;
    const char *password;
    const char *token;  // NULL: log in with the password for each connection
    const char *secret; // that tokens are signed with, where the protocol takes them
    bool is_named;      // name= in the URL: a sender does not get its own messages

    // How much
    int clients;
    int rooms;
    int senders;  // in each room
    double rate;  // messages a second of each sender
    bool is_random;    // with a rate: at random moments, from any sender
    bool is_together;  // with a rate: those of a room are due at the same moment
    int window;   // messages in flight of each sender
    int size;     // bytes in the text of a message
    int connects;
    int in_flight;  // connections on their way at a time
    double warm_up_s;
    double seconds;

    pid_t pid;  // 0: the server's use of the machine is not measured
};

// Read the command line; print what is wrong with it and exit with 1, or the help and exit with 0.
struct options options_read(int count, char **words);

const char *mode_name(enum mode mode);

#endif
