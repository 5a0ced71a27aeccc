// Everything of attnjit's C++ interface.
#pragma once

#include "attnjit/Backend.h"
#include "attnjit/Engine.h"
#include "attnjit/Hooks.h"
#include "attnjit/Kernel.h"
#include "attnjit/KernelAbi.h"
#include "attnjit/MergeStates.h"
#include "attnjit/Mod.h"
#include "attnjit/Pipeline.h"
#include "attnjit/Problem.h"
#include "attnjit/Result.h"
#include "attnjit/Types.h"
#include "attnjit/Version.h"
