/* Everything of attnjit's C interface: C99, the standard headers, one prefix. Begin with base.h, which says how functions fail and who owns
 * what. */
#ifndef ATTNJIT_C_ATTNJIT_H
#define ATTNJIT_C_ATTNJIT_H

#include "attnjit-c/attention.h"
#include "attnjit-c/base.h"
#include "attnjit-c/block_mask.h"
#include "attnjit-c/call.h"
#include "attnjit-c/engine.h"
#include "attnjit-c/kernel.h"
#include "attnjit-c/mod.h"

#endif
