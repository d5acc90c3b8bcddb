// Durations counted in log-linear buckets: 128 for each doubling, so that a quantile is off by at most 0.4 %.
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 7
// Up to 255 each value has a bucket of its own; then 56 doublings are left of 64 bits.
#define HISTOGRAM_BUCKETS (((64 - HISTOGRAM_BITS - 1) + 2) << HISTOGRAM_BITS)

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

// The value that the share `quantile` of all values does not exceed: the middle of its bucket. NaN without any value.
double histogram_quantile(const struct histogram *histogram, double quantile);

// NaN without any value.
double histogram_max(const struct histogram *histogram);

#endif
