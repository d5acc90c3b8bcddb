#include "histogram.h"

#include <math.h>

// A value is cut to its HISTOGRAM_BITS + 1 leading bits; this is how many bits fall off.
static int bits_cut(uint64_t value) {
    int length = 64 - __builtin_clzll(value | 1);
    return length > HISTOGRAM_BITS + 1 ? length - HISTOGRAM_BITS - 1 : 0;
}

void histogram_add(struct histogram *histogram, uint64_t value) {
    int cut = bits_cut(value);
    histogram->buckets[((uint64_t)cut << HISTOGRAM_BITS) + (value >> cut)]++;
    histogram->count++;
    if (value > histogram->max) histogram->max = value;
}

static double middle_of(int bucket) {
    if (bucket < 2 << HISTOGRAM_BITS) return bucket;
    int cut = (bucket >> HISTOGRAM_BITS) - 1;
    int leading = bucket - (cut << HISTOGRAM_BITS);
    return ldexp(leading + 0.5, cut);
}

double histogram_quantile(const struct histogram *histogram, double quantile) {
    double target = ceil(quantile * (double)histogram->count);
    uint64_t seen = 0;
    for (int bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        // The middle of the last bucket may lie beyond the largest value.
        if (seen && (double)seen >= target) return fmin(middle_of(bucket), (double)histogram->max);
    }
    return NAN;
}

double histogram_max(const struct histogram *histogram) {
    return histogram->count ? (double)histogram->max : NAN;
}
