/* Formulas: a score_mod, a mask_mod and a prob_mod, parsed from text (docs/language.md). */
#ifndef ATTNJIT_C_MOD_H
#define ATTNJIT_C_MOD_H

#include "attnjit-c/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attnjit_mod attnjit_mod;

#define ATTNJIT_NUMBER (-1)
/* A name that a formula may use besides its arguments: a tensor of a rank, or a number (rank ATTNJIT_NUMBER, dtype ATTNJIT_F64, ATTNJIT_I64
 * or ATTNJIT_BOOL). Sizes and values come with each call. */
typedef struct attnjit_capture_info {
  const char *name;
  attnjit_dtype dtype;
  int32_t rank;
} attnjit_capture_info;

typedef int32_t attnjit_capture_kind;
enum { ATTNJIT_CAPTURE_TENSOR = 0, ATTNJIT_CAPTURE_FLOAT = 1, ATTNJIT_CAPTURE_INT = 2, ATTNJIT_CAPTURE_BOOL = 3 };
/* The value of one capture, by name or, where every name is NULL, by position. */
typedef struct attnjit_capture {
  const char *name;
  attnjit_capture_kind kind;
  union {
    attnjit_tensor tensor;
    double number;   /* ATTNJIT_CAPTURE_FLOAT */
    int64_t integer; /* ATTNJIT_CAPTURE_INT, and ATTNJIT_CAPTURE_BOOL: 0 or not */
  } value;
} attnjit_capture;

typedef struct attnjit_mod_text {
  size_t struct_size;
  const char *score_mod;   /* NULL or "": the score untouched */
  const char *mask_mod;    /* everything visible */
  const char *prob_mod;    /* the softmax untouched */
  const char *module;      /* Python text whose functions the others may name */
  const char *module_name; /* what messages call it; default "mods" */
} attnjit_mod_text;
#define ATTNJIT_MOD_TEXT_INIT {.struct_size = sizeof(attnjit_mod_text)}

/* Errors: ATTNJIT_INVALID_FORMULA with its place; ATTNJIT_INVALID_ARGUMENT for an impossible capture. */
ATTNJIT_API attnjit_status attnjit_mod_parse(const attnjit_mod_text *text, const attnjit_capture_info *captures, size_t capture_count,
                                             attnjit_mod **mod, attnjit_error **error);
/* The inverse of attnjit_mod_canonical_text. */
ATTNJIT_API attnjit_status attnjit_mod_parse_canonical(const char *text, attnjit_mod **mod, attnjit_error **error);
ATTNJIT_API void attnjit_mod_retain(attnjit_mod *mod);
ATTNJIT_API void attnjit_mod_release(attnjit_mod *mod);

typedef int32_t attnjit_combination;
enum {
  ATTNJIT_AND = 0,
  ATTNJIT_OR = 1,
  ATTNJIT_XOR = 2,
  ATTNJIT_NOT = 3,  /* of one */
  ATTNJIT_CHAIN = 4 /* mods only: one after another, visible where every mask says so */
};
/* Masks joined by logic, or mods in a chain. Captures of one name are one capture. Error: ATTNJIT_INVALID_ARGUMENT when a name is declared
 * in two ways, or when logic is asked of a mod that has more than a mask. */
ATTNJIT_API attnjit_status attnjit_mod_combine(attnjit_combination how, const attnjit_mod *const *mods, size_t count, attnjit_mod **mod,
                                               attnjit_error **error);

typedef int32_t attnjit_mod_part;
enum { ATTNJIT_MASK_ONLY = 0, ATTNJIT_SCORE_ONLY = 1, ATTNJIT_PROB_ONLY = 2 };
/* One of the three formulas with the captures that it reads. */
ATTNJIT_API attnjit_status attnjit_mod_only(const attnjit_mod *mod, attnjit_mod_part part, attnjit_mod **only, attnjit_error **error);

/* Equal structure, equal text. */
ATTNJIT_API const char *attnjit_mod_canonical_text(const attnjit_mod *mod);
enum {
  ATTNJIT_HAS_MASK = 1, /* the mask is not the constant True */
  ATTNJIT_SCORE_IS_IDENTITY = 2,
  ATTNJIT_PROB_IS_IDENTITY = 4,
  ATTNJIT_PROB_IS_HOMOGENEOUS = 8 /* proportional to p: one pass over the keys computes it */
};
/* Some of the above, added. */
ATTNJIT_API uint32_t attnjit_mod_properties(const attnjit_mod *mod);
ATTNJIT_API size_t attnjit_mod_capture_count(const attnjit_mod *mod);
/* The captures in the order in which positional ones are matched. Error: ATTNJIT_INVALID_ARGUMENT past the last. */
ATTNJIT_API attnjit_status attnjit_mod_get_capture(const attnjit_mod *mod, size_t index, attnjit_capture_info *info, attnjit_error **error);

#ifdef __cplusplus
}
#endif
#endif
