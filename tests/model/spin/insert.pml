/* Insertion by announcement, with reuse of blocks (index/index.hpp, reclaim/reclaim.hpp, recovery/recovery.cpp).

   Modelled: one bucket of two slots; SETTERS setters of key K (at most three), OPS operations each; an eraser that removes key X, which
   is in slot 0 at first, and then K EOPS times; the supervisor as recoverer and reclaimer. NB blocks: one of them may be
   freed and claimed again while a helper sleeps anywhere in N2, N3.
   Abstracted: no events (one_key.pml), no deadlines (expiry.pml); settling is PRIV -> CLEAN; a
   protection H1-H3 and a reclaim Q1-Q4 is one step but in help_insert (one_key.pml has them apart); uids are small numbers
   that never come back.
   Checked: a record is placed exactly once [IX-2]; never two live slots of K [IX-1]; nothing is touched after it was
   freed; a block that is linked or announced is not freed; an operation that returned had its effect; no leak. */
#include "model.h"
#define ERASER 3
#define SUP 4
#define KILLABLE(p) ((p) < ERASER)
#define BUG_NOHAZ 1      /* the reclaimer ignores hz */
#define BUG_NORECHECK 2  /* a helper does not look at ins again behind the slot */
#define BUG_PLAIN 3      /* insertion by a CAS of the first empty slot */
#define BUG_NOIX3 4      /* a mutator does not help ins before it replaces or marks */
#define BUG_IDLE 5       /* idle words are all alike */
#define BUG_ABORT 6      /* recovery does not help the announcement of the dead */
hidden byte SETTERS, OPS, EOPS, NB;
#define NBMAX 3
#define NONE 7
#define FREE 0
#define PRIV 1
#define CLEAN 2
#define RETIRED 3
#define ABORTED 4
/* slot: b live, 8+b marked, 16+uid empty.   ins: place*8+b busy, 64+uid idle */
#define ISLIVE(v) ((v) < 8)
#define ISMARK(v) ((v) >= 8 && (v) < 16)
#define ISEMPTY(v) ((v) >= 16)
#define ISBUSY(w) ((w) < 64)
byte s[2], ins, uids = 2;
byte st[NBMAX], uid[NBMAX];
bool ofk[NBMAX], rm[NBMAX];
short placed;  /* ghost, by uid */
byte nw[5], nwuid[5], old[5], hz[5];
bool valid[5], dead[5], recovered[5], fin[5];
#define LEFT(q) (dead[q] && !recovered[q])
#define GONE(q) (fin[q] || recovered[q])
#define USED(b) assert(st[b] != FREE)
#define OTHERK(i) (ISLIVE(s[1 - (i)]) && ofk[s[1 - (i)]])
inline put(i, b) {
  s[i] = b;
  assert(ofk[b] && (placed & (1 << uid[b])) == 0 && !OTHERK(i));
  placed = placed | (1 << uid[b])
}
inline help(p, w) {
  atomic { STEP(p) hz[p] = w & 7 }
  atomic { STEP(p) ok = (ins == w) }
  if
  :: ok ->
     atomic { STEP(p) e = s[w >> 3] }
     atomic { STEP(p) ok = (ISEMPTY(e) && (ins == w || bug == BUG_NORECHECK)) }
     if
     :: ok -> atomic { STEP(p) if :: s[w >> 3] == e -> put(w >> 3, w & 7) :: else fi }  /* N2 */
     :: else
     fi;
     atomic { STEP(p) USED(w & 7); e = (bug == BUG_IDLE -> 0 : uid[w & 7]) }
     atomic { STEP(p) if :: ins == w -> ins = 64 + e :: else fi; ok = 0; e = 0 }         /* N3 */
  :: else
  fi
}
inline settle(p, b) { atomic { STEP(p) USED(b); if :: st[b] == PRIV -> st[b] = CLEAN :: else fi } }
inline retire(p, b) { atomic { STEP(p) USED(b); if :: st[b] == CLEAN -> st[b] = RETIRED :: else fi } }
inline finish(p, i, b) {
  atomic { STEP(p) USED(b); rm[b] = 1 }                                     /* R4 */
  atomic { STEP(p) if :: s[i] == 8 + b -> s[i] = 16 + uid[b] :: else fi }   /* X3 */
  retire(p, b)
}
inline protect(p, i, v) {
  atomic { STEP(p) ok = (s[i] == v); if :: ok -> old[p] = v & 7; valid[p] = 1; USED(v & 7) :: else old[p] = NONE; valid[p] = 0 fi }
}
/* find_for_write: the place f of K's live slot, or 2; j is the first empty place. `ok` 0: from the start. */
inline find(p) {
  f = 2; j = 2; i = 0; ok = 1;
  do
  :: i < 2 && f == 2 ->
     atomic { STEP(p) v = s[i] }
     if
     :: ISEMPTY(v) -> if :: j == 2 -> j = i :: else fi; v = 0
     :: ISLIVE(v) ->
        atomic { STEP(p) ok = (s[i] == v); if :: ok -> hz[p] = v; USED(v); if :: ofk[v] -> f = i :: else v = 0 fi :: else v = 0 fi }
        if :: !ok -> break :: else fi
     :: ISMARK(v) ->
        protect(p, i, v);
        if :: !ok -> break :: else fi;
        if
        :: ofk[v & 7] -> finish(p, i, (v & 7)); if :: j == 2 -> j = i :: else fi
        :: else
        fi;
        atomic { STEP(p) valid[p] = 0; old[p] = NONE; v = 0 }
     fi;
     i++
  :: else -> break
  od;
  i = 0
}
proctype Setter(byte p) {
  byte n, b, w, v, e, f, j, i; bool ok;
  do
  :: n < OPS ->
     atomic { b = 0; do :: b < NB && st[b] != FREE -> b++ :: else -> break od }
     if :: b == NB -> goto done :: else fi;
     atomic { STEP(p) nwuid[p] = uids; uids++; nw[p] = b }  /* A1 */
     atomic { STEP(p) if :: st[b] == FREE -> st[b] = PRIV; uid[b] = nwuid[p]; ofk[b] = 1; rm[b] = 0 :: else -> goto done fi }
again:
     atomic { STEP(p) w = ins }
     if :: ISBUSY(w) -> help(p, w); goto again :: else fi;
     find(p);
     if
     :: !ok -> goto again
     :: ok && f < 2 ->
        protect(p, f, v);
        if :: !ok -> goto again :: else fi;
        atomic { STEP(p) e = ins }
        if
        :: ISBUSY(e) && bug != BUG_NOIX3 -> w = e; help(p, w); goto again
        :: else e = 0
        fi;
        settle(p, v);
        atomic { STEP(p) if :: s[f] == v -> put(f, b); ok = 1 :: else ok = 0 fi }  /* X1 */
        if :: !ok -> goto again :: else fi;
        settle(p, b);
        retire(p, v)
     :: else ->
        if :: j == 2 -> goto done :: else fi;
        atomic { STEP(p) valid[p] = 0; old[p] = NONE }
        if
        :: bug == BUG_PLAIN ->
           atomic { e = s[j]; if :: ISEMPTY(e) -> ok = 1 :: else -> ok = 0 fi }
           if :: !ok -> goto again :: else fi;
           atomic { STEP(p) if :: s[j] == e -> put(j, b) :: else -> ok = 0 fi; e = 0 }
           if :: !ok -> goto again :: else fi
        :: else ->
           atomic { STEP(p) if :: ins == w -> ins = j * 8 + b; ok = 1 :: else -> ok = 0 fi }  /* N1 */
           if :: !ok -> goto again :: else fi;
           w = j * 8 + b;
           help(p, w)
        fi;
        settle(p, b)
     fi;
     assert(placed & (1 << nwuid[p]));
done:
     if
     :: b < NB -> atomic { STEP(p) if :: st[b] == PRIV && uid[b] == nwuid[p] -> st[b] = ABORTED :: else fi }
     :: else
     fi;
     atomic { STEP(p) valid[p] = 0; old[p] = NONE; hz[p] = NONE }
     atomic { STEP(p) nw[p] = NONE; nwuid[p] = 0 }
     d_step { n++; b = 0; w = 0; v = 0; e = 0; f = 0; j = 0; i = 0; ok = 0 }
  :: else -> break
  od;
  atomic { fin[p] = 1 }
died:
  skip
}
proctype Eraser(byte p) {
  byte n, w, v, e, f, j, i; bool ok;
  atomic { if :: s[0] == 0 && !ofk[0] -> s[0] = 16 + uid[0]; st[0] = RETIRED :: else fi }  /* X */
  do
  :: n < EOPS ->
again:
     atomic { STEP(p) w = ins }
     if :: ISBUSY(w) -> help(p, w); goto again :: else fi;
     find(p);
     if :: !ok -> goto again :: else fi;
     if
     :: f < 2 ->
        protect(p, f, v);
        if :: !ok -> goto again :: else fi;
        atomic { STEP(p) w = ins }
        if :: ISBUSY(w) && bug != BUG_NOIX3 -> help(p, w); goto again :: else fi;
        settle(p, v);
        atomic { STEP(p) if :: s[f] == v -> s[f] = 8 + v; ok = 1 :: else -> ok = 0 fi }  /* X2 */
        if :: !ok -> goto again :: else fi;
        finish(p, f, v)
     :: else
     fi;
     atomic { valid[p] = 0; old[p] = NONE; hz[p] = NONE }
     d_step { n++; w = 0; v = 0; e = 0; f = 0; j = 0; i = 0; ok = 0 }
  :: else -> break
  od;
  atomic { fin[p] = 1 }
died:
  skip
}
#define WAITS(b) (st[b] >= RETIRED)
proctype Supervisor() {
  byte q, r, o, w, v, e, i; bool ok;
again:
  do
  :: atomic { LEFT(0) || LEFT(1) || LEFT(2); q = (LEFT(0) -> 0 : (LEFT(1) -> 1 : 2)) }
     r = nw[q]; o = NONE;
     if
     :: r != NONE && uid[r] == nwuid[q] && st[r] != FREE ->
        atomic { STEP(SUP) w = ins }
        if :: bug != BUG_ABORT && ISBUSY(w) && (w & 7) == r -> help(SUP, w) :: else fi;
        atomic { STEP(SUP) v = s[0]; ok = (v == r || v == 8 + r) }
        if :: !ok -> atomic { STEP(SUP) v = s[1]; ok = (v == r || v == 8 + r) } :: else fi;
        if
        :: ok -> settle(SUP, r); if :: valid[q] -> o = old[q] :: else fi
        :: !ok && st[r] == PRIV -> atomic { STEP(SUP) if :: st[r] == PRIV -> st[r] = ABORTED :: else fi }
        :: !ok && st[r] == ABORTED -> skip
        :: else -> if :: valid[q] -> o = old[q] :: else fi
        fi;
        if :: o != NONE -> retire(SUP, o) :: else fi;
        ok = (ok || st[r] != ABORTED)  /* it was installed */
     :: else -> ok = 0
     fi;
     if
     :: !ok && valid[q] && old[q] != NONE ->
        o = old[q]; i = 0;
        do
        :: i < 2 -> atomic { STEP(SUP) v = s[i] }; if :: v == o || v == 8 + o -> break :: else i++ fi
        :: else -> break
        od;
        if
        :: i < 2 && v == 8 + o -> finish(SUP, i, o)
        :: i == 2 && rm[o] -> retire(SUP, o)
        :: else
        fi
     :: else
     fi;
     atomic { STEP(SUP) valid[q] = 0; old[q] = NONE; hz[q] = NONE }
     atomic { nw[q] = NONE; nwuid[q] = 0; recovered[q] = 1; hz[SUP] = NONE; q = 0; r = 0; o = 0; w = 0; v = 0; e = 0; i = 0; ok = 0 }
  :: atomic { WAITS(0) -> r = 0 } goto reclaim
  :: atomic { WAITS(1) -> r = 1 } goto reclaim
  :: atomic { WAITS(2) -> r = 2 }
reclaim:
     atomic {  /* Q1-Q4 */
       ok = (nw[0] != r && nw[1] != r && nw[2] != r && old[0] != r && old[1] != r && old[2] != r && old[ERASER] != r);
       ok = ok && (bug == BUG_NOHAZ || (hz[0] != r && hz[1] != r && hz[2] != r && hz[ERASER] != r));
       if
       :: ok && st[r] >= RETIRED ->
          assert(s[0] != r && s[1] != r && s[0] != 8 + r && s[1] != 8 + r && !(ISBUSY(ins) && (ins & 7) == r));
          st[r] = FREE; ofk[r] = 0
       :: else
       fi;
       r = 0; ok = 0
     }
  :: atomic { GONE(0) && GONE(1) && GONE(2) && fin[ERASER] -> break }
  od;
  skip;
  d_step {
    assert(!ISBUSY(ins));
    r = 0;
    do
    :: r < NB -> assert(st[r] == FREE || st[r] >= RETIRED || (st[r] == CLEAN && (s[0] == r || s[1] == r))); r++
    :: else -> break
    od
  }
  goto over;
died:
  skip;
  d_step { hz[SUP] = NONE; q = 0; r = 0; o = 0; w = 0; v = 0; e = 0; i = 0; ok = 0 }
  goto again;
over:
  skip
}
init {
  byte i;
  atomic {
    COMMON_PARAMETERS
    c_code { SETTERS = param("SETTERS", 2); OPS = param("OPS", 1); EOPS = param("EOPS", 1); NB = param("NB", 2); }
    ins = 64; s[0] = 0; s[1] = 16; st[0] = CLEAN; uid[0] = 1;
    do :: i < 5 -> nw[i] = NONE; old[i] = NONE; hz[i] = NONE; i++ :: else -> break od;
    i = 0;
    run Setter(0);
    if :: SETTERS >= 2 -> run Setter(1) :: else -> fin[1] = 1 fi;
    if :: SETTERS == 3 -> run Setter(2) :: else -> fin[2] = 1 fi;
    run Eraser(ERASER); run Supervisor()
  }
}
