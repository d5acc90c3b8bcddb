// What a process has used so far.
#ifndef PROC_H
#define PROC_H

#include <stdint.h>
#include <sys/types.h>

// CPU time of all its threads, also of those that have ended, in nanoseconds.
uint64_t cpu_ns_of(pid_t pid);

// CPU time of the load generator itself.
uint64_t own_cpu_ns(void);

// Resident memory, in bytes.
uint64_t rss_of(pid_t pid);

#endif
