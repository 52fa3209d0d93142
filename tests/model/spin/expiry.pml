/* A deadline against everybody who changes it (keyspace/set.cpp, get.cpp, settle.cpp).

   Modelled: one slot, which holds record 0 with deadline 1; a toucher (deadline 2: T2, or TouchCopy when the deadline
   is frozen), a writer (MODE 0 plain SET, 1 read-modify-write that keeps the deadline), a reader who helps to expire
   what it finds expired (WHO: bits of these three), the supervisor as recoverer and sweep; a clock that reaches 1 at any moment. Reading exp and
   reading the clock are two steps. FULL: the ring is full at first, and has room at any later moment; DEBT: record 0
   is not settled yet, its writer stopped behind X1.
   Abstracted: a trigger wants everything; the append is one step (ring.pml, one_key.pml); insertion is one CAS
   (insert.pml); blocks are not reused.
   Checked: the events are the history of the slot, in its order (EXPIRE before the next WRITE, one end for each
   value, none for a touch copy); after somebody was told that a value is gone, or its EXP mark was set, no TOUCH of
   it succeeds [KS-5]; a kept deadline is the one that the replaced record ends with; no mark and no debt is left. */
#include "model.h"
#define SUP 3
#define KILLABLE(p) ((p) < 2)
#define BUG_NOFREEZE 1     /* R3 without R2 */
#define BUG_TOUCHFROZEN 2  /* T2 does not look at FROZEN */
#define BUG_KEEPNOFREEZE 3 /* the deadline is kept without freezing it */
#define BUG_NOPAY 4        /* a mark is finished without paying the record's debt first */
#define BUG_COPYEVENT 5    /* a touch copy owes a WRITE */
#define BUG_NOFINISH 6     /* recovery and sweep do not finish marks */
#define BUG_SETOVER 7      /* SET replaces an expired record without expiring it */
#define BUG_ABSENT 8       /* a record with a debt that finds no room is reported absent without a mark */
hidden byte WHO, MODE, FULL, DEBT;
#define NREC 4
#define NONE 7
#define PRIV 1
#define CLEAN 2
#define EVPEND 3
#define EVDONE 4
#define RETIRED 5
#define ABORTED 6
/* slot: r live, 8+r marked EXP, 16+n empty */
#define ISLIVE(v) ((v) < 8)
#define ISMARK(v) ((v) >= 8 && (v) < 16)
byte slot, empties = 16, now, records = 1;
bool noroom;
byte st[NREC], exp[NREC], rm[NREC];  /* exp: deadline * 2 + FROZEN; rm: 0 unset, 1 pending, 2 confirmed, 3 none */
bool copy[NREC], ev[NREC];
bool gone[NREC];                     /* ghost: somebody was told so */
byte hist[6], nhist, nlog;           /* ghost: r WRITE, 8+r EXPIRE */
byte nw[2], old[2];
bool valid[2], dead[3], recovered[2], fin[3];
#define PASSED(e) ((e) >= 2 && now >= (e) / 2)
#define LIN(e) hist[nhist] = e; nhist++
#define LOG(e) assert(nlog < nhist && hist[nlog] == (e)); nlog++
/* pay_debt: ok 0 when the ring is full */
inline pay(p, r) {
  atomic { STEP(p) if :: st[r] == PRIV -> st[r] = (copy[r] && bug != BUG_COPYEVENT -> CLEAN : EVPEND) :: else fi; ok = 1 }
  if
  :: st[r] == EVPEND ->
     atomic { STEP(p) if :: ev[r] -> skip :: !ev[r] && !noroom -> ev[r] = 1; LOG(r) :: else ok = 0 fi }
     if :: ok -> atomic { STEP(p) if :: st[r] == EVPEND -> st[r] = EVDONE :: else fi } :: else fi
  :: else
  fi
}
inline retire(p, r) { atomic { STEP(p) if :: st[r] == CLEAN || st[r] == EVDONE -> st[r] = RETIRED :: else fi } }
/* finish_remove: ok 0 when the ring is full */
inline finish(p, r) {
  if :: bug != BUG_NOPAY -> pay(p, r) :: else -> ok = 1 fi;
  if
  :: ok ->
     atomic { STEP(p) if :: rm[r] == 0 -> rm[r] = 1 :: else fi }  /* R4 */
     atomic { STEP(p) if :: rm[r] == 1 && !noroom -> rm[r] = 2; LOG(8 + r) :: rm[r] == 1 && noroom -> ok = 0 :: else fi }
  :: else
  fi;
  if
  :: ok ->
     atomic { STEP(p) if :: slot == 8 + r -> slot = empties; empties++ :: else fi }                      /* X3 */
     retire(p, r);
     ok = 1
  :: else
  fi
}
#define ALIVE 0
#define REMOVED 1
#define CHANGED 2
#define BLOCKED 3
/* expire_slot; the outcome is x */
inline expire(p, r) {
  atomic { STEP(p) e = exp[r] }
  atomic { if :: PASSED(e) -> x = REMOVED :: else -> x = ALIVE fi }
  if
  :: x == REMOVED ->
     pay(p, r);  /* if the ring has no room, finish_remove pays first */
     if
     :: !ok && bug == BUG_ABSENT -> x = BLOCKED
     :: else ->
        do
        :: x != REMOVED || (e & 1) || bug == BUG_NOFREEZE -> break
        :: else ->
           atomic { STEP(p) if :: exp[r] == e -> exp[r] = e | 1; e = e | 1 :: else -> e = exp[r]; if :: PASSED(e) -> skip :: else -> x = ALIVE fi fi }  /* R2 */
        od;
        if
        :: x == REMOVED ->
           atomic { STEP(p) if :: slot == r -> slot = 8 + r; gone[r] = 1; LIN(8 + r) :: else -> x = CHANGED fi }  /* X2 */
           if
           :: x == REMOVED -> finish(p, r); if :: !ok -> x = BLOCKED :: else fi
           :: else
           fi
        :: else
        fi
     fi
  :: else
  fi;
  e = 0
}
inline protect(p, r) {
  atomic { STEP(p) ok = (slot == r); if :: ok -> old[p] = r & 7; valid[p] = 1 :: else -> old[p] = NONE; valid[p] = 0 fi }
}
/* mode 0 SET, 1 SET that keeps the deadline, 2 TouchCopy, 3 TOUCH */
proctype Writer(byte p; byte mode) {
  byte v, n = NONE, e, x; bool ok, late;
again:
  atomic { STEP(p) v = slot; late = (ISLIVE(v) -> PASSED(exp[v & 7]) : 0) }
  if
  :: ISMARK(v) ->
     protect(p, v);
     if :: !ok -> goto again :: else fi;
     finish(p, (v & 7));
     atomic { STEP(p) valid[p] = 0; old[p] = NONE }
     if :: ok && mode < 2 -> goto again :: else -> goto done fi
  :: ISLIVE(v) ->
     protect(p, v);
     if :: !ok -> goto again :: else fi;
     if :: bug == BUG_SETOVER && mode == 0 -> x = ALIVE :: else -> expire(p, v) fi;
     if
     :: x == CHANGED -> goto again
     :: x == REMOVED -> if :: mode < 2 -> goto again :: else -> goto done fi
     :: x == BLOCKED -> if :: mode == 3 -> gone[v] = 1 :: else fi; goto done
     :: else
     fi;
     if
     :: mode == 3 ->
        atomic { STEP(p) e = exp[v] }
        if :: (e & 1) && bug != BUG_TOUCHFROZEN -> mode = 2; e = 0; goto again :: else fi;
        atomic { STEP(p) if :: exp[v] == e -> exp[v] = 4; assert(!gone[v]); e = 0; goto done :: else -> e = 0; goto again fi }  /* T2 */
     :: else
     fi;
     pay(p, v);
     if :: !ok -> goto done :: else fi;
     e = 0;
     if
     :: mode > 0 ->
        atomic { STEP(p) if :: bug != BUG_KEEPNOFREEZE -> exp[v] = exp[v] | 1 :: else fi; e = exp[v] & 6 }
     :: else
     fi
  :: else ->
     if :: mode >= 2 -> goto done :: else fi;
     atomic { STEP(p) valid[p] = 0; old[p] = NONE }
  fi;
  if :: n == NONE -> atomic { STEP(p) n = records; records++; nw[p] = n; st[n] = PRIV; copy[n] = (mode == 2) } :: else fi;
  exp[n] = (mode == 2 -> 4 : e);
  e = 0;
  atomic { STEP(p)  /* X1, or N1-N3 */
    if
    :: slot == v ->
       if :: ISLIVE(v) && mode > 0 -> assert((mode == 2 || exp[n] == (exp[v] & 6)) && (mode == 1 || !gone[v])) :: else fi;
       if :: ISLIVE(v) -> assert(!(late && PASSED(exp[v]))) :: else fi;  /* it had expired before we began: EXPIRE first */
       slot = n; ok = 1;
       if :: mode != 2 -> LIN(n) :: else fi
    :: else -> ok = 0
    fi
  }
  if :: !ok -> goto again :: else fi;
  pay(p, n);
  if
  :: ISLIVE(v) ->
     atomic { STEP(p) if :: st[v] != RETIRED -> rm[v] = (!copy[n] && ev[n] -> 2 : 3) :: else fi }
     retire(p, v)
  :: else
  fi;
  n = NONE;
done:
  if :: n != NONE -> atomic { STEP(p) if :: st[n] == PRIV -> st[n] = ABORTED :: else fi } :: else fi;
  atomic { STEP(p) valid[p] = 0; old[p] = NONE }
  atomic { STEP(p) nw[p] = NONE }
  atomic { fin[p] = 1; v = 0; n = 0; x = 0; ok = 0; mode = 0; late = 0 }
died:
  skip
}
/* tend_bucket for the one slot */
inline tend(p) {
  atomic { STEP(p) v = slot }
  if
  :: ISMARK(v) && bug != BUG_NOFINISH -> finish(p, (v & 7))
  :: ISLIVE(v) -> pay(p, v); if :: ok || bug != BUG_ABSENT -> expire(p, v) :: else fi
  :: else
  fi
}
proctype Reader() {
  byte v, e, x, r; bool ok;
  atomic { r = slot; if :: ISLIVE(r) -> e = exp[r] :: else -> r = NONE fi }
  if
  :: r != NONE && PASSED(e) ->
     tend(2);
     atomic { if :: slot == r && PASSED(exp[r]) -> gone[r] = 1 :: else fi }  /* answers not_found */
  :: else
  fi;
  atomic { fin[2] = 1; v = 0; e = 0; x = 0; r = 0; ok = 0 }
died:
  skip
}
proctype Clock() { atomic { now = 1 } }
proctype Consumer() { atomic { noroom = 0 } }
#define OVER(p) (fin[p] || recovered[p])
proctype Supervisor() {
  byte q, r, v, e, x; bool ok, installed;
again:
  do
  :: atomic { dead[0] && !recovered[0] -> q = 0 } goto recover
  :: atomic { dead[1] && !recovered[1] -> q = 1 }
recover:
     r = nw[q]; installed = 0; ok = 1;
     if
     :: r != NONE ->
        atomic { STEP(SUP) v = slot }
        if
        :: (v & 7) == r && v < 16 -> installed = 1; pay(SUP, r)
        :: else ->
           atomic { STEP(SUP) e = st[r] }
           if
           :: e == PRIV -> atomic { STEP(SUP) st[r] = ABORTED }
           :: e == ABORTED -> skip
           :: else -> installed = 1
           fi;
           e = 0
        fi;
        if
        :: ok && installed && valid[q] ->
           atomic { STEP(SUP) if :: st[old[q]] != RETIRED -> rm[old[q]] = (!copy[r] && ev[r] -> 2 : 3) :: else fi }
           retire(SUP, old[q])
        :: else
        fi
     :: else
     fi;
     if
     :: ok && !installed && valid[q] ->
        r = old[q];
        atomic { STEP(SUP) v = slot }
        if
        :: v == 8 + r && bug != BUG_NOFINISH -> finish(SUP, r)
        :: v != 8 + r && v != r && rm[r] != 0 -> retire(SUP, r)
        :: else
        fi
     :: else
     fi;
     if
     :: ok ->
        atomic { STEP(SUP) valid[q] = 0; old[q] = NONE }
        atomic { nw[q] = NONE; recovered[q] = 1 }
     :: else -> !noroom  /* tried again when there is room */
     fi;
     d_step { q = 0; r = 0; v = 0; e = 0; x = 0; ok = 0; installed = 0 }
  :: atomic { OVER(0) && OVER(1) && fin[2] && !noroom -> break }
  od;
  tend(2);  /* a supervisor that dies here has an intent of its own, like a writer */
  d_step {
    assert(!ISMARK(slot) && nlog == nhist);
    r = 0;
    do
    :: r < records -> assert(st[r] == RETIRED || st[r] == ABORTED || (slot == r && (st[r] == CLEAN || st[r] == EVDONE))); r++
    :: else -> break
    od
  }
  goto over;
died:
  skip;
  d_step { q = 0; r = 0; v = 0; e = 0; x = 0; ok = 0; installed = 0 }
  goto again;
over:
  skip
}
init {
  atomic {
    COMMON_PARAMETERS
    c_code { WHO = param("WHO", 7); MODE = param("MODE", 0); FULL = param("FULL", 0); DEBT = param("DEBT", 0); }
    exp[0] = 2; noroom = FULL; nw[0] = NONE; nw[1] = NONE; old[0] = NONE; old[1] = NONE;
    LIN(0);
    if :: DEBT -> st[0] = PRIV :: else -> st[0] = EVDONE; ev[0] = 1; LOG(0) fi;
    if :: WHO & 1 -> run Writer(0, 3) :: else -> fin[0] = 1 fi;
    if :: WHO & 2 -> run Writer(1, MODE) :: else -> fin[1] = 1 fi;
    if :: WHO & 4 -> run Reader() :: else -> fin[2] = 1 fi;
    run Clock(); run Consumer(); run Supervisor()
  }
}
