// Signed tokens: who a client is, for a server that shares the secret.
#ifndef TOKEN_H
#define TOKEN_H

#include <stddef.h>

#define MAX_TOKEN 512

// Write a JSON Web Token (RFC 7519, HS256) of the user "load-<number>", good for a day; it ends with a NUL.
void token_write(char out[MAX_TOKEN], const char *secret, int number);

#endif
