// How the load generator gives up.
#ifndef SAY_H
#define SAY_H

// Print one line to stderr, and exit with 1.
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
