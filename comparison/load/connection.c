#include "connection.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "say.h"

static SSL_CTX *tls_settings;

// TLS settings

void connections_use_tls(void) {
    tls_settings = SSL_CTX_new(TLS_client_method());
    if (!tls_settings || !SSL_CTX_set_min_proto_version(tls_settings, TLS1_3_VERSION))
        die("TLS: %s", connection_error());
    // The certificate is not looked at: the peer is on this machine.
    SSL_CTX_set_verify(tls_settings, SSL_VERIFY_NONE, NULL);
    // Each connection has a handshake of its own, as if another client made it: no session is resumed.
    SSL_CTX_set_session_cache_mode(tls_settings, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(tls_settings, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // One system call for all that has come, instead of two for each record.
    SSL_CTX_set_read_ahead(tls_settings, 1);
    // A server that hangs up without a word is a matter for the protocol above.
    SSL_CTX_set_options(tls_settings, SSL_OP_IGNORE_UNEXPECTED_EOF);
}

void connections_forget_tls(void) { SSL_CTX_free(tls_settings); }

// Opening

bool connection_start(struct connection *connection, struct sockaddr_in address) {
    *connection = NO_CONNECTION;
    connection->address = address;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) return false;
    int on = 1;
    if (setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) return false;
    return connection_advance(connection) != IO_FAILED;
}

static int tls_result(struct connection *connection, int result) {
    if (result > 0) return result;
    switch (SSL_get_error(connection->ssl, result)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE: return IO_AGAIN;
        case SSL_ERROR_ZERO_RETURN: return 0;
        default: return IO_FAILED;
    }
}

static int connect_tcp(struct connection *connection) {
    // Asked again, connect() tells how the first call went.
    struct sockaddr *address = (struct sockaddr *)&connection->address;
    if (connect(connection->fd, address, sizeof connection->address) && errno != EISCONN)
        return errno == EINPROGRESS || errno == EALREADY ? IO_AGAIN : IO_FAILED;
    connection->is_connected = true;
    if (tls_settings) {
        connection->ssl = SSL_new(tls_settings);
        if (!connection->ssl || !SSL_set_fd(connection->ssl, connection->fd)) return IO_FAILED;
    }
    return 1;
}

int connection_advance(struct connection *connection) {
    int result = 1;
    if (!connection->is_connected) result = connect_tcp(connection);
    if (result == 1 && connection->ssl && !connection->is_open) {
        result = tls_result(connection, SSL_connect(connection->ssl));
        if (result == 0) {
            errno = ECONNRESET;
            result = IO_FAILED;
        }
    }
    if (result == 1) connection->is_open = true;
    return result;
}

// Reading and writing

static int socket_result(ssize_t result) {
    if (result >= 0) return (int)result;
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAILED;
}

int connection_read(struct connection *connection, void *data, size_t size) {
    if (size > INT_MAX) size = INT_MAX;
    if (connection->ssl) return tls_result(connection, SSL_read(connection->ssl, data, (int)size));
    return socket_result(recv(connection->fd, data, size, 0));
}

bool connection_has_pending(const struct connection *connection) {
    return connection->ssl && SSL_has_pending(connection->ssl);
}

static int write_some(struct connection *connection, const void *data, size_t size) {
    if (connection->ssl) return tls_result(connection, SSL_write(connection->ssl, data, (int)size));
    return socket_result(send(connection->fd, data, size, MSG_NOSIGNAL));
}

bool connection_send(struct connection *connection, const void *data, size_t size) {
    size_t sent = 0;
    if (connection->unsent.size == 0) {
        int result = write_some(connection, data, size);
        if (result == IO_FAILED) return false;
        if (result > 0) sent = (size_t)result;
    }
    bytes_append(&connection->unsent, (const uint8_t *)data + sent, size - sent);
    return true;
}

bool connection_flush(struct connection *connection) {
    while (connection->unsent.size) {
        int result = write_some(connection, connection->unsent.data, connection->unsent.size);
        if (result == IO_FAILED) return false;
        if (result <= 0) return true;
        bytes_drop(&connection->unsent, (size_t)result);
    }
    return true;
}

// Closing

void connection_end(struct connection *connection) {
    if (connection->ssl) SSL_shutdown(connection->ssl);
    shutdown(connection->fd, SHUT_WR);
}

void connection_close(struct connection *connection) {
    if (connection->ssl) {
        SSL_free(connection->ssl);
        ERR_clear_error();  // or the next connection's errors would be taken for this one's
    }
    if (connection->fd >= 0) close(connection->fd);
    bytes_free(&connection->unread);
    bytes_free(&connection->unsent);
    *connection = NO_CONNECTION;
}

const char *connection_error(void) {
    const char *tls_reason = ERR_reason_error_string(ERR_peek_last_error());
    return tls_reason ? tls_reason : strerror(errno);
}
