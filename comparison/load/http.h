// The little HTTP that it takes to log in and to upgrade: requests written, answers read.
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "options.h"

#define MAX_REQUEST 20480
#define MAX_ANSWER 65536
#define MAX_OTP 512

enum http_progress { HTTP_INCOMPLETE, HTTP_COMPLETE, HTTP_BROKEN };

struct answer {
    int status;
    bool keeps_open;   // the connection can be used for another request
    bool is_upgraded;  // to WebSocket, and the server's Sec-WebSocket-Accept is right
    size_t taken;      // bytes of the answer; what follows belongs to the new protocol
    size_t body_size;
    char body[MAX_ANSWER + 1];  // ends with a NUL
};

// Write POST /login, or POST /otp with a token: its size.
size_t http_write_login(char out[MAX_REQUEST], const struct options *options);

// Write the upgrade to WebSocket: its size. `pass` is the one-time password or the token, if it takes one; `number`
// makes the name of a named client.
size_t http_write_upgrade(char out[MAX_REQUEST], const struct options *options, const char *pass, int number);

// Read the answer at the beginning of `data`. At the end of the stream, an answer without a length is complete.
enum http_progress http_read(const char *data, size_t size, bool is_end, struct answer *answer);

// The one-time password in the body of a login's answer. False: there is none.
bool http_find_otp(const char *body, char otp[MAX_OTP]);

#endif
