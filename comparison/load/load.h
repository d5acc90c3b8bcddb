// The loads of clients that stay: they chat at a rate or in a window, or keep quiet.
#ifndef LOAD_H
#define LOAD_H

#include "options.h"

void load_run(const struct options *options);

#endif
