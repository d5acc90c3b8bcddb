// A load generator for chat servers that speak the classic dialect: one thread, one epoll loop, one JSON object out.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "connection.h"
#include "load.h"
#include "loop.h"
#include "options.h"
#include "say.h"
#include "storm.h"

// Descriptors beside those of clients: stdio, the loop, a connection for logins.
#define OTHER_FILES 8

static void raise_file_limit(const struct options *options) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) die("open files: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit)) die("open files: %s", strerror(errno));
    int connections = options->mode == MODE_CONNECTS ? 2 * options->in_flight : options->clients;
    if ((rlim_t)connections + OTHER_FILES > limit.rlim_max)
        die("%d connections are too many: this process may have %llu open files (ulimit -Hn)", connections,
            (unsigned long long)limit.rlim_max);
}

int main(int count, char **words) {
    struct options options = options_read(count, words);
    signal(SIGPIPE, SIG_IGN);  // TLS writes without MSG_NOSIGNAL
    raise_file_limit(&options);
    loop_open();
    if (options.is_tls) connections_use_tls();
    if (options.mode == MODE_CONNECTS)
        storm_run(&options);
    else
        load_run(&options);
    if (options.is_tls) connections_forget_tls();
    loop_close();
    return 0;
}
