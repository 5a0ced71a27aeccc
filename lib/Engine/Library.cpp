// libattnjit.so is the rooms of lib/ taken whole; a library needs one source of its own.
#include "attnjit/attnjit.h"
