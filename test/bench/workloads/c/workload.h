#include <stdint.h>
#include <stdlib.h>

/** A workload: called by its own name with its size. */
#define WORKLOAD(name) __attribute__((export_name(#name))) double name(int n)
