#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "say.h"

static const char *separator = "{";

static void begin_field(const char *name) {
    printf("%s\"%s\": ", separator, name);
    separator = ", ";
}

void report_begin(void) { separator = "{"; }

void report_text(const char *name, const char *plain_ascii) {
    begin_field(name);
    printf("\"%s\"", plain_ascii);
}

void report_count(const char *name, int64_t value) {
    begin_field(name);
    printf("%" PRId64, value);
}

void report_figure(const char *name, double value, int decimals) {
    begin_field(name);
    if (isfinite(value))
        printf("%.*f", decimals, value);
    else
        fputs("null", stdout);
}

void report_latency(const struct histogram *histogram) {
    report_figure("p50_us", histogram_quantile(histogram, 0.5) / 1e3, 1);
    report_figure("p99_us", histogram_quantile(histogram, 0.99) / 1e3, 1);
    report_figure("p999_us", histogram_quantile(histogram, 0.999) / 1e3, 1);
    report_figure("max_us", histogram_max(histogram) / 1e3, 1);
}

void report_end(void) {
    puts("}");
    if (fflush(stdout)) die("cannot write the result");
}
