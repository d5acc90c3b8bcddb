#include "proc.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "say.h"

static uint64_t read_cpu_clock(clockid_t clock, pid_t pid) {
    struct timespec t;
    if (clock_gettime(clock, &t)) die("process %d is gone", (int)pid);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

// The CPU clock of a process is what the scheduler has counted, to the nanosecond. /proc/PID/stat has ticks of 10 ms,
// and /proc/PID/task/*/schedstat forgets a thread when it ends.
uint64_t cpu_ns_of(pid_t pid) {
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock)) die("--pid: there is no process %d", (int)pid);
    return read_cpu_clock(clock, pid);
}

uint64_t own_cpu_ns(void) { return read_cpu_clock(CLOCK_PROCESS_CPUTIME_ID, getpid()); }

uint64_t rss_of(pid_t pid) {
    char name[32];
    snprintf(name, sizeof name, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(name, "r");
    if (!file) die("--pid: cannot read %s", name);
    uint64_t pages = 0;
    int found = fscanf(file, "%*u %" SCNu64, &pages);
    fclose(file);
    if (found != 1) die("--pid: cannot understand %s", name);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
