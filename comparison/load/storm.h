// The load of connections that come and go.
#ifndef STORM_H
#define STORM_H

#include "options.h"

void storm_run(const struct options *options);

#endif
