#include "Check.h"

attnjit_mod *parse(const char *score_mod, const char *mask_mod, const attnjit_capture_info *captures, size_t count) {
  attnjit_mod_text text = ATTNJIT_MOD_TEXT_INIT;
  attnjit_mod *mod = NULL;
  text.score_mod = score_mod;
  text.mask_mod = mask_mod;
  OK(attnjit_mod_parse(&text, captures, count, &mod, &error));
  return mod;
}

static void captures_and_texts(void) {
  const attnjit_capture_info captures[] = {{"slope", ATTNJIT_F32, 1}, {"cap", ATTNJIT_F64, ATTNJIT_NUMBER}};
  attnjit_mod_text text = ATTNJIT_MOD_TEXT_INIT;
  attnjit_mod *mod = NULL, *again = NULL, *only = NULL;
  attnjit_capture_info info;
  text.score_mod = "cap * torch.tanh((score + slope[h]) / cap)";
  text.mask_mod = "window(8)";
  text.prob_mod = "p * 2.0";
  text.module = "def window(n):\n    return lambda b, h, q, kv: (q >= kv) & (q - kv < n)\n";
  text.module_name = "windows.py";
  OK(attnjit_mod_parse(&text, captures, 2, &mod, &error));
  CHECK(attnjit_mod_properties(mod) == (ATTNJIT_HAS_MASK | ATTNJIT_PROB_IS_HOMOGENEOUS));
  CHECK(attnjit_mod_capture_count(mod) == 2);
  OK(attnjit_mod_get_capture(mod, 1, &info, &error));
  CHECK(strcmp(info.name, "cap") == 0 && info.dtype == ATTNJIT_F64 && info.rank == ATTNJIT_NUMBER);
  FAILS(attnjit_mod_get_capture(mod, 2, &info, &error), ATTNJIT_INVALID_ARGUMENT, "no number 2; there are 2");

  OK(attnjit_mod_parse_canonical(attnjit_mod_canonical_text(mod), &again, &error));
  CHECK(strcmp(attnjit_mod_canonical_text(mod), attnjit_mod_canonical_text(again)) == 0);
  OK(attnjit_mod_only(mod, ATTNJIT_MASK_ONLY, &only, &error));
  CHECK(attnjit_mod_properties(only) & ATTNJIT_SCORE_IS_IDENTITY);
  attnjit_mod_release(only);
  OK(attnjit_mod_only(mod, ATTNJIT_SCORE_ONLY, &only, &error));
  CHECK(!(attnjit_mod_properties(only) & ATTNJIT_HAS_MASK));
  attnjit_mod_release(only);
  OK(attnjit_mod_only(mod, ATTNJIT_PROB_ONLY, &only, &error));
  CHECK(!(attnjit_mod_properties(only) & ATTNJIT_PROB_IS_IDENTITY));
  attnjit_mod_release(only);

  /* Two references: the first release leaves one. */
  attnjit_mod_retain(again);
  attnjit_mod_release(again);
  CHECK(attnjit_mod_capture_count(again) == 2);
  attnjit_mod_release(again);
  attnjit_mod_release(mod);
}

static void combinations(void) {
  attnjit_mod *causal_mod = parse(NULL, "q_idx >= kv_idx", NULL, 0), *near = parse(NULL, "q_idx - kv_idx < 4", NULL, 0);
  attnjit_mod *both = parse(NULL, "(q_idx >= kv_idx) & (q_idx - kv_idx < 4)", NULL, 0), *biased = parse("score + 1.0", NULL, NULL, 0);
  const attnjit_mod *pair[] = {causal_mod, near}, *chain[] = {biased, causal_mod}, *hole[] = {causal_mod, NULL};
  attnjit_mod *made = NULL;
  attnjit_combination how;
  OK(attnjit_mod_combine(ATTNJIT_AND, pair, 2, &made, &error));
  CHECK(strcmp(attnjit_mod_canonical_text(made), attnjit_mod_canonical_text(both)) == 0);
  attnjit_mod_release(made);
  for (how = ATTNJIT_OR; how <= ATTNJIT_XOR; ++how) {
    OK(attnjit_mod_combine(how, pair, 2, &made, &error));
    CHECK(strcmp(attnjit_mod_canonical_text(made), attnjit_mod_canonical_text(both)) != 0);
    attnjit_mod_release(made);
  }
  OK(attnjit_mod_combine(ATTNJIT_NOT, pair, 1, &made, &error));
  attnjit_mod_release(made);
  OK(attnjit_mod_combine(ATTNJIT_CHAIN, chain, 2, &made, &error));
  CHECK(!(attnjit_mod_properties(made) & ATTNJIT_SCORE_IS_IDENTITY) && (attnjit_mod_properties(made) & ATTNJIT_HAS_MASK));
  attnjit_mod_release(made);
  FAILS(attnjit_mod_combine(ATTNJIT_NOT, pair, 2, &made, &error), ATTNJIT_INVALID_ARGUMENT, "takes one mod, not 2");
  FAILS(attnjit_mod_combine(ATTNJIT_AND, chain, 2, &made, &error), ATTNJIT_INVALID_ARGUMENT, "");
  FAILS(attnjit_mod_combine(ATTNJIT_AND, hole, 2, &made, &error), ATTNJIT_INVALID_ARGUMENT, "mods is NULL");
  FAILS(attnjit_mod_combine(9, pair, 2, &made, &error), ATTNJIT_INVALID_ARGUMENT, "no combination 9");
  CHECK(!made);
  attnjit_mod_release(causal_mod);
  attnjit_mod_release(near);
  attnjit_mod_release(both);
  attnjit_mod_release(biased);
}

void test_mods(void) {
  const attnjit_capture_info unnamed = {NULL, ATTNJIT_F32, 1}, strange = {"x", 77, 1};
  attnjit_mod *mod = parse(NULL, NULL, NULL, 0), *only = NULL;
  CHECK(attnjit_mod_properties(mod) == (ATTNJIT_SCORE_IS_IDENTITY | ATTNJIT_PROB_IS_IDENTITY | ATTNJIT_PROB_IS_HOMOGENEOUS));
  FAILS(attnjit_mod_only(mod, 3, &only, &error), ATTNJIT_INVALID_ARGUMENT, "no part 3");
  FAILS(attnjit_mod_only(NULL, ATTNJIT_MASK_ONLY, &only, &error), ATTNJIT_INVALID_ARGUMENT, "mod is NULL");
  attnjit_mod_release(mod);
  FAILS(attnjit_mod_parse(NULL, &unnamed, 1, &mod, &error), ATTNJIT_INVALID_ARGUMENT, "");
  FAILS(attnjit_mod_parse(NULL, &strange, 1, &mod, &error), ATTNJIT_INVALID_ARGUMENT, "x: there is no dtype 77");
  FAILS(attnjit_mod_parse(NULL, NULL, 1, &mod, &error), ATTNJIT_INVALID_ARGUMENT, "captures is NULL");
  FAILS(attnjit_mod_parse(NULL, NULL, 0, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "mod is NULL");
  FAILS(attnjit_mod_parse_canonical("nonsense", &mod, &error), ATTNJIT_INVALID_FORMULA, "");
  FAILS(attnjit_mod_parse_canonical(NULL, &mod, &error), ATTNJIT_INVALID_ARGUMENT, "text is NULL");
  CHECK(!mod);
  CHECK(attnjit_mod_properties(NULL) == 0 && attnjit_mod_capture_count(NULL) == 0);
  CHECK(strcmp(attnjit_mod_canonical_text(NULL), "") == 0);
  attnjit_mod_retain(NULL);
  attnjit_mod_release(NULL);
  captures_and_texts();
  combinations();
}
