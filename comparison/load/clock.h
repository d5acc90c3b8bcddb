// The one clock that everything is timed by.
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline uint64_t s_to_ns(double seconds) { return (uint64_t)(seconds * 1e9); }

static inline double ns_to_s(uint64_t ns) { return (double)ns / 1e9; }

#endif
