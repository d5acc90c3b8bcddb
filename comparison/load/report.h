// The result: one JSON object on one line.
#ifndef REPORT_H
#define REPORT_H

#include <stdint.h>

#include "histogram.h"

void report_begin(void);

void report_text(const char *name, const char *plain_ascii);

void report_count(const char *name, int64_t value);

// NaN is null: there is nothing to say.
void report_figure(const char *name, double value, int decimals);

// p50_us, p99_us, p999_us and max_us of a histogram of nanoseconds.
void report_latency(const struct histogram *histogram);

void report_end(void);

#endif
