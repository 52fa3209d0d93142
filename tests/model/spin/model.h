/* What the models share. Parameters come from the environment of `pan`, so that one compiled model serves
   every configuration and every planted bug: NKILL=1 BUG=2 ./pan. Hidden: they are no part of the state.

   STEP(p) opens one access to shared memory, inside atomic { }: process p may be killed in front of it,
   or, for the process SUP, be killed and replaced by a successor. A model says who is KILLABLE. */
c_decl {
static int param(const char *name, int otherwise) {
  const char *text = getenv(name);
  return text ? atoi(text) : otherwise;
}
}
hidden byte bug;
hidden byte NKILL;
hidden byte NRESTART;
#define COMMON_PARAMETERS c_code { bug = param("BUG", 0); NKILL = param("NKILL", 1); NRESTART = param("NRESTART", 0); }
byte kills, restarts;
#define STEP(p)                                                                  \
  if                                                                             \
  :: KILLABLE(p) && kills < NKILL -> kills++; dead[p] = 1; goto died             \
  :: (p) == SUP && restarts < NRESTART -> restarts++; goto died                  \
  :: true                                                                        \
  fi;
