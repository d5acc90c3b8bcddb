#include "token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "say.h"

#define GOOD_FOR_S 86400

// RFC 4648 section 5, without padding: the end of what was written.
static char *write_base64url(char *out, const void *data, size_t size) {
    int length = EVP_EncodeBlock((unsigned char *)out, data, (int)size);
    while (length && out[length - 1] == '=') length--;
    for (int i = 0; i < length; i++) out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    out[length] = '\0';
    return out + length;
}

void token_write(char out[MAX_TOKEN], const char *secret, int number) {
    static const char HEAD[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    char claims[128];
    int size = snprintf(claims, sizeof claims, "{\"sub\":\"load-%d\",\"exp\":%lld}", number,
                        (long long)time(NULL) + GOOD_FOR_S);
    char *end = write_base64url(out, HEAD, sizeof HEAD - 1);
    *end++ = '.';
    end = write_base64url(end, claims, (size_t)size);
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int mac_size;
    if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), (unsigned char *)out, (size_t)(end - out), mac, &mac_size))
        die("a token could not be signed");
    *end++ = '.';
    write_base64url(end, mac, mac_size);
}
