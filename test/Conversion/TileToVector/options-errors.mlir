// RUN: not attnjit-opt %s --convert-tile-to-vector=pipeline=flat 2>&1 | FileCheck %s --check-prefix=PIPELINE
// RUN: not attnjit-opt %s --convert-tile-to-vector=vector-bits=64 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not attnjit-opt %s --convert-tile-to-vector="bf16=tile" 2>&1 | FileCheck %s --check-prefix=UNIT
// PIPELINE: error: pipeline: expected 'math', 'flash' or 'efficient', got 'flat'
// BITS: error: vector-bits: expected 128, 256 or 512, got 64
// UNIT: error: bf16: expected 'none' or, with vector-bits=512, 'vector' or 'tile', got 'tile'
module {}
