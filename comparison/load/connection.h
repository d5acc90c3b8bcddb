// A TCP or TLS connection that never blocks, and what waits on either side of it.
#ifndef CONNECTION_H
#define CONNECTION_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

// What reading or writing gave, beside a number of bytes. 0 from a read is the end.
#define IO_AGAIN (-1)
#define IO_FAILED (-2)

struct connection {
    int fd;  // -1: none
    bool is_connected;
    bool is_open;  // connected, and the TLS handshake is done
    SSL *ssl;
    struct sockaddr_in address;
    struct bytes unread;  // the beginning of a frame whose rest has not come
    struct bytes unsent;  // what the socket has not taken
};

#define NO_CONNECTION ((struct connection){.fd = -1})

// Call once, before any connection is made with TLS.
void connections_use_tls(void);

void connections_forget_tls(void);

// Begin to connect. False: failed.
bool connection_start(struct connection *connection, struct sockaddr_in address);

// Go on with connecting and the TLS handshake: 1 when the connection is open.
int connection_advance(struct connection *connection);

// Bytes read, 0 at the end, IO_AGAIN or IO_FAILED.
int connection_read(struct connection *connection, void *data, size_t size);

// Whether TLS holds bytes that have left the socket, so that waiting for it is in vain.
bool connection_has_pending(const struct connection *connection);

// Send, or keep what the socket does not take now for connection_flush. False: failed.
bool connection_send(struct connection *connection, const void *data, size_t size);

// Send what could not be sent. False: failed.
bool connection_flush(struct connection *connection);

// Nothing more will be sent; what the peer sends can still be read.
void connection_end(struct connection *connection);

// Close at once, and forget all that waits.
void connection_close(struct connection *connection);

// Why the last call failed. The text lives until the next call.
const char *connection_error(void);

#endif
