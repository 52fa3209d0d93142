/* The client registry (clients/clients.cpp, recovery.cpp: claim_recovery, recover_client).

   Modelled: one client slot; OWNERS owners that come one after the other or together, each with a registration of its
   own: C1, then an operation that names block 0 as a hazard, releases it, C2; each may be killed anywhere. Two
   recoverers of different registrations, who may be killed too, then third and fourth ones: R1, R1', the repair (one
   step that must happen before the hazard goes), clear, R2. A reclaimer frees block 0 once nothing names it.
   Abstracted: liveness is exact (the lock of a registration, tested with real processes).
   Checked: at most one owner or recoverer writes the slot [CL-1]; uids do not repeat [CL-2]; a new owner finds the
   intent empty [CL-3]; the hazards of the dead stay until their repair is done [HP-3]; no slot is lost. */
#include "model.h"
#define SUP 99
#define KILLABLE(p) (1)
#define BUG_LIVE 1       /* R1 without looking whether the owner is dead */
#define BUG_LIVEBY 2     /* R1' without looking whether the recoverer is dead */
#define BUG_CLEARFIRST 3 /* hazards are cleared before the repair */
#define BUG_FREEFIRST 4  /* R2 before the words are cleared */
#define BUG_COUNTER 5    /* the recoverer resets the counter */
#define BUG_STORE 6      /* R1 by a plain store */
#define FREE 0
#define LIVE 1
#define RECOVERING 2
/* state: FREE, or kind + registration * 4 + recoverer * 32. Registrations: owners 1-3, recoverers 4-7. */
#define STATE(k, r, by) ((k) + (r) * 4 + (by) * 32)
#define KIND(s) ((s) & 3)
#define REG(s) (((s) >> 2) & 7)
#define BY(s) ((s) >> 5)
byte state, counter = 1, hz;            /* hz: 1 names block 0 */
bool dead[8], over[8];
bool blockfree, using;                  /* using: ghost, an unrepaired operation needs the block */
short uidsused;
hidden byte OWNERS;
proctype Owner(byte p) {
  byte s, u;
  atomic { STEP(p) s = state }
  if :: s != FREE -> goto done :: else fi;
  atomic { STEP(p) if :: state == s -> state = STATE(LIVE, p, 0) :: else goto done fi }  /* C1 */
  assert(hz == 0 && REG(state) == p);  /* [CL-3] */
  atomic { STEP(p) u = counter; counter = u + 1; assert((uidsused & (1 << u)) == 0); uidsused = uidsused | (1 << u) }
  atomic { STEP(p) assert(REG(state) == p && KIND(state) == LIVE); hz = 1 }
  atomic { if :: !blockfree -> using = 1 :: else -> skip fi }
  atomic { STEP(p) assert(!using || !blockfree); using = 0 }
  atomic { STEP(p) assert(REG(state) == p && KIND(state) == LIVE); hz = 0 }
  atomic { STEP(p) state = FREE }                                                        /* C2 */
done:
  over[p] = 1;
died:
  skip
}
proctype Recoverer(byte p) {
  byte s; bool ok;
  do
  :: atomic { state != FREE && dead[REG(state)] && (KIND(state) == LIVE || BY(state) == p || dead[BY(state)] || bug == BUG_LIVEBY) -> s = state }
     ok = 1;
  :: atomic { bug == BUG_LIVE && state != FREE && KIND(state) == LIVE -> s = state }
     ok = 1
  :: ok ->
     atomic { STEP(p) if :: state == s || bug == BUG_STORE -> state = STATE(RECOVERING, REG(s), p) :: else -> ok = 0 fi }  /* R1, R1' */
     if
     :: ok ->
        if :: bug == BUG_CLEARFIRST -> atomic { STEP(p) hz = 0 } :: else fi;
        atomic { STEP(p) assert(BY(state) == p); if :: using -> assert(!blockfree) :: else fi; using = 0 }  /* the repair */
        if
        :: bug == BUG_FREEFIRST ->
           atomic { STEP(p) state = FREE }
           atomic { STEP(p) hz = 0 }
        :: else ->
           atomic { STEP(p) assert(BY(state) == p); hz = 0; if :: bug == BUG_COUNTER -> counter = 1 :: else fi }
           atomic { STEP(p) assert(BY(state) == p); state = FREE }  /* R2 */
        fi
     :: else
     fi;
     ok = 0; s = 0
  :: atomic { !ok && (over[1] || dead[1]) && (over[2] || dead[2]) && (over[3] || dead[3]) && state == FREE -> break }
  od;
  over[p] = 1;
died:
  skip
}
proctype Reclaimer() {
end:
  do
  :: atomic { !blockfree && hz == 0 -> blockfree = 1 } break
  od
}
#define GONE(p) (over[p] || dead[p])
init {
  atomic {
    COMMON_PARAMETERS
    c_code { OWNERS = param("OWNERS", 3); }
    run Owner(1); run Owner(2);
    if :: OWNERS == 3 -> run Owner(3) :: else -> over[3] = 1 fi;
    run Recoverer(4); run Recoverer(5); run Reclaimer()
  }
  if :: GONE(4) && GONE(5) fi;
  if :: dead[4] || dead[5] -> run Recoverer(6) :: else -> over[6] = 1 fi;
  if :: GONE(6) fi;
  if :: dead[6] -> run Recoverer(7) :: else -> over[7] = 1 fi;
  GONE(7);
  assert(dead[7] || (state == FREE && hz == 0 && !using))
}
