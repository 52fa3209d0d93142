/* Growth of a bucket's chain (index/index.cpp: extend_chain, help_insert, index_repair_after).

   Modelled: two buckets with one slot each, which is taken, and two overflow buckets with one slot each. Client 0 and
   client 1 insert into bucket 0, client 2 into bucket 1, OPS keys each (WHO: bits
   of the clients that run); the supervisor recovers the dead.
   Abstracted: records are only their keys (reuse: insert.pml); nothing is removed.
   Checked: an overflow bucket has an owner exactly when it is linked, in the chain of its owner and in no other [IX-6];
   every insertion that returned, and every announced one, is in its chain once, whoever placed it; no busy ins. */
#include "model.h"
#define SUP 3
#define KILLABLE(p) ((p) < 3)
#define BUG_NOWALK 1       /* recovery frees a claimed bucket without looking whether it was linked */
#define BUG_LATEINTENT 2   /* O1 behind O2 */
#define BUG_LINKSTORE 3    /* O3 by a plain store */
#define BUG_KEEP 4         /* who loses O3 keeps its claim */
#define BUG_ANYCLIENT 5    /* recovery does not look who claimed */
hidden byte OPS, WHO;
#define NONE 15
/* s, link: 0, 1 the buckets, 2, 3 the overflow buckets. Keys 1..6; ins: 64+uid idle, place*8+key busy. */
byte s[4], link[4], ins[2], owner[2], ovf[3], nw[3];
bool dead[3], recovered[3], fin[3];
byte placed;
#define OWNER(b, p) (1 + (b) * 4 + (p))
#define ISBUSY(w) ((w) < 64)
#define BUCKET(p) ((p) == 2)
/* Walks to a place of bucket b's chain; cur NONE: no such place. */
inline walk(p, b, place) {
  cur = b; i = place;
  do
  :: i == 0 || cur == NONE -> break
  :: else -> atomic { STEP(p) cur = (link[cur] == 0 -> NONE : 1 + link[cur]); i-- }
  od;
  i = 0
}
inline help(p, b, w) {
  walk(p, b, (w >> 3));
  if
  :: cur != NONE ->
     atomic { STEP(p) v = s[cur] }
     atomic { STEP(p) ok = (ins[b] == w && v == 0) }
     if
     :: ok ->
        atomic { STEP(p)
          if :: s[cur] == 0 -> s[cur] = w & 7; assert((placed & (1 << (w & 7))) == 0); placed = placed | (1 << (w & 7))
             :: else fi }
     :: else
     fi;
     atomic { STEP(p) if :: ins[b] == w -> ins[b] = 64 + (w & 7) :: else fi; ok = 0; v = 0; cur = 0 }
  :: else -> assert(false)  /* a helper always finds the place that was announced */
  fi
}
proctype Inserter(byte p) {
  byte n, w, j, place, cur, i, v, o; bool ok;
  do
  :: n < OPS ->
     atomic { STEP(p) nw[p] = 1 + p * 2 + n }
again:
     atomic { STEP(p) w = ins[BUCKET(p)] }
     if :: ISBUSY(w) -> help(p, BUCKET(p), w); goto again :: else fi;
     cur = BUCKET(p); j = NONE; place = 0;
     do
     :: atomic { STEP(p) if :: s[cur] == 0 && j == NONE -> j = place :: else fi }
        atomic { STEP(p) if :: link[cur] != 0 -> cur = 1 + link[cur]; place++ :: else -> break fi }
     od;
     if
     :: j == NONE ->
        /* `cur` is the last bucket: extend_chain */
        o = 0; ok = 0;
        do
        :: o < 2 && !ok ->
           atomic { STEP(p) ok = (owner[o] == 0) }
           if
           :: ok ->
              if :: bug != BUG_LATEINTENT -> atomic { STEP(p) ovf[p] = o + 1 } :: else fi;                          /* O1 */
              atomic { STEP(p) if :: owner[o] == 0 -> owner[o] = OWNER(BUCKET(p), p) :: else -> ok = 0; o++ fi }  /* O2 */
           :: else -> o++
           fi
        :: else -> break
        od;
        if
        :: ok ->
           if :: bug == BUG_LATEINTENT -> atomic { STEP(p) ovf[p] = o + 1 } :: else fi;
           atomic { STEP(p) if :: link[cur] == 0 || bug == BUG_LINKSTORE -> link[cur] = o + 1 :: else -> ok = 0 fi }  /* O3 */
           if :: !ok && bug != BUG_KEEP -> atomic { STEP(p) owner[o] = 0 } :: else fi;
           atomic { STEP(p) ovf[p] = 0; ok = 0; o = 0 }
           goto again
        :: else -> atomic { STEP(p) ovf[p] = 0; o = 0 }  /* no room */
        fi
     :: else ->
        atomic { STEP(p) if :: ins[BUCKET(p)] == w -> ins[BUCKET(p)] = j * 8 + nw[p]; ok = 1 :: else fi }
        if :: !ok -> goto again :: else fi;
        w = j * 8 + nw[p];
        help(p, BUCKET(p), w);
        assert(placed & (1 << nw[p]))
     fi;
     atomic { STEP(p) nw[p] = 0; n++; w = 0; j = 0; place = 0; cur = 0; v = 0; o = 0; ok = 0 }
  :: else -> break
  od;
  fin[p] = 1;
died:
  skip
}
#define OVER(p) (fin[p] || recovered[p])
proctype Supervisor() {
  byte q, w, cur, i, v; bool ok;
again:
  do
  :: atomic { dead[0] && !recovered[0] -> q = 0 } goto recover
  :: atomic { dead[1] && !recovered[1] -> q = 1 } goto recover
  :: atomic { dead[2] && !recovered[2] -> q = 2 }
recover:
     atomic { STEP(SUP) w = ins[BUCKET(q)] }
     if :: ISBUSY(w) && (w & 7) == nw[q] -> help(SUP, BUCKET(q), w) :: else fi;
     atomic { STEP(SUP) w = ovf[q] }
     if
     :: w != 0 ->
        atomic { STEP(SUP) v = owner[w - 1] }
        if
        :: v != 0 && ((v - 1) % 4 == q || bug == BUG_ANYCLIENT) ->
           cur = (v - 1) / 4; ok = 0;
           do
           :: cur != NONE && !ok ->
              atomic { STEP(SUP) ok = (link[cur] == w); cur = (link[cur] == 0 -> NONE : 1 + link[cur]) }
           :: else -> break
           od;
           if
           :: !ok || bug == BUG_NOWALK -> atomic { STEP(SUP) if :: owner[w - 1] == v -> owner[w - 1] = 0 :: else fi }
           :: else
           fi
        :: else
        fi
     :: else
     fi;
     atomic { STEP(SUP) ovf[q] = 0; nw[q] = 0; recovered[q] = 1; q = 0; w = 0; cur = 0; v = 0; ok = 0 }
  :: atomic { OVER(0) && OVER(1) && OVER(2) -> break }
  od;
  skip;
  d_step {
    assert(!ISBUSY(ins[0]) && !ISBUSY(ins[1]));
    v = 0;  /* linked overflow buckets, as bits */
    q = 0;
    do
    :: q < 2 ->
       cur = q;
       do
       :: link[cur] != 0 ->
          assert((v & (1 << link[cur])) == 0 && owner[link[cur] - 1] != 0 && (owner[link[cur] - 1] - 1) / 4 == q);
          v = v | (1 << link[cur]);
          cur = 1 + link[cur]
       :: else -> break
       od;
       q++
    :: else -> break
    od;
    assert((owner[0] != 0) == ((v & 2) != 0) && (owner[1] != 0) == ((v & 4) != 0));
    w = 0; i = 0;
    do
    :: i < 4 -> if :: s[i] != 0 && s[i] != 7 && (i < 2 || (v & (1 << (i - 1)))) -> w = w | (1 << s[i]) :: else fi; i++
    :: else -> break
    od;
    assert(w == placed)
  }
  goto over;
died:
  skip;
  d_step { q = 0; w = 0; cur = 0; i = 0; v = 0; ok = 0 }
  goto again;
over:
  skip
}
init {
  atomic {
    COMMON_PARAMETERS
    c_code { OPS = param("OPS", 1); WHO = param("WHO", 7); }
    ins[0] = 64; ins[1] = 64; s[0] = 7; s[1] = 7;
    if :: WHO & 1 -> run Inserter(0) :: else -> fin[0] = 1 fi;
    if :: WHO & 2 -> run Inserter(1) :: else -> fin[1] = 1 fi;
    if :: WHO & 4 -> run Inserter(2) :: else -> fin[2] = 1 fi;
    run Supervisor()
  }
}
