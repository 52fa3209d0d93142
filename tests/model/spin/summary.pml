/* The deadline summary (expiry/expiry.hpp, expiry_inl.hpp; recovery.cpp).

   Modelled: a root, two nodes, three buckets (0 and 1 below node 0, 2 below node 1), a record with a deadline in each
   bucket or none; two writers that publish a deadline (W1-W3), two sweepers (S0-S3) with a budget of visits, as the
   supervisor and a client that sweeps for room are; recovery of each of them. Writer 0 works in bucket 0, writer 1 in
   bucket 1 (NEAR) or 2. At first bucket 0 holds a due record and bucket 2 a later one.
   WALL: what writers publish, and the record of bucket 2, end by the wall clock, which was set forward; the supervisor's
   other thread notices some time (V0-V2), and dies over it (NRESTART). By the old offset a deadline is reckoned one too high.
   Abstracted: a lowering is one atomic minimum (a CAS loop that only lowers); visiting a bucket is one step, and a look at the
   offset.
   Checked: when nobody is at work, no node and no bucket is above the deadline of a linked record below it [EX-1], as the
   offset reckons it; a record goes only when it is due [EX-2]. Stopping is a process that takes no step until the others are
   done. */
#include "model.h"
#define SUP 4
#define KILLABLE(p) ((p) < 4)
#define BUG_NOW3       1 /* the writer does not lower again */
#define BUG_NOUP       2 /* no look upwards */
#define BUG_STORE      3 /* the sweeper looks first and stores what it saw */
#define BUG_NOTEND     4 /* recovery does not tend the bucket */
#define BUG_NOREBUILD  5 /* recovery of a sweeper looks at its bucket only */
#define BUG_BUDGET     6 /* a child that was not visited for lack of budget counts as empty */
#define BUG_LOOKNEAR   7 /* a bucket that is low enough is looked at alone */
#define BUG_NOLOOK     8 /* nobody looks at the offset again */
#define BUG_NOV1       9 /* a new offset, and no bucket is visited for it */
#define BUG_LATEV0    10 /* the offset is stored behind V1 */
#define BUG_NOREVISING 11 /* V0 does not say that V1 is to come */
hidden byte WHO, NEAR, VISITS, D0, D1, WALL;
#define NEVER 9
#define NOW 1
byte root, nd[2], bk[3], rec[3];  /* rec 0: none */
bool wall[3];                     /* the record's deadline is the wall clock's */
#define OLD 0
#define REVISING 1
#define NEW 2
byte offset;
#define RECKONED(d, w) ((d) + ((w) && offset == OLD -> 1 : 0))
byte intent[4];
bool sweeps[4], dead[4], recovered[4], fin[4];
#define LOWER(w, d) if :: w > d -> w = d :: else fi
#define DUE(d) ((d) != 0 && (d) <= NOW)
#define LEFT(b) (rec[b] == 0 -> NEVER : rec[b])
/* `low` is its caller's. */
inline lower(p, b, d) {
  atomic { STEP(p) low = (bk[b] <= d) }
  if :: low && bug != BUG_LOOKNEAR -> atomic { STEP(p) low = (nd[b / 2] <= d) } :: else fi;
  if :: low && bug != BUG_LOOKNEAR -> atomic { STEP(p) low = (root <= d) } :: else fi;
  if
  :: low -> low = 0
  :: else ->
     atomic { STEP(p) LOWER(root, d) }
     atomic { STEP(p) LOWER(nd[b / 2], d) }
     atomic { STEP(p) LOWER(bk[b], d) }
     if
     :: bug != BUG_NOUP ->
        atomic { STEP(p) LOWER(nd[b / 2], d) }
        atomic { STEP(p) LOWER(root, d) }
     :: else
     fi
  fi
}
/* O2. `o` is what it was before. */
inline look_again(p, b, o) {
  if
  :: WALL && bug != BUG_NOLOOK ->
     atomic { STEP(p) if :: offset != o -> o = NEVER :: else fi }
     if :: o == NEVER -> lower(p, b, 0) :: else fi
  :: else
  fi
}
proctype Writer(byte p; byte b; byte d) {
  bool low;
  byte e, o;
  intent[p] = b;
  atomic { if :: WALL -> STEP(p) :: else fi; e = RECKONED(d, WALL) }         /* O1 */
  lower(p, b, e);                                                            /* W1 */
  atomic { STEP(p) rec[b] = d; wall[b] = WALL }                              /* W2 */
  atomic { if :: WALL -> STEP(p) :: else fi; e = RECKONED(d, WALL); o = offset }  /* O1 */
  if :: bug != BUG_NOW3 -> lower(p, b, e) :: else fi;                        /* W3 */
  look_again(p, b, o);
  fin[p] = 1;
died:
  skip;
  d_step { e = 0; o = 0; low = 0 }
}
/* The loops of node() and bucket(), written out: m is the minimum of a node's children, r of the root's. */
proctype Sweeper(byte p; byte left) {
  byte n, b, seen, m, r, o;
  bool low, w;
  sweeps[p] = 1;
  atomic { STEP(p) seen = root }
  if :: seen > NOW || left == 0 -> goto done :: else fi;
  if :: bug != BUG_STORE -> atomic { STEP(p) root = NEVER } :: else fi;  /* S1 */
  r = NEVER;
  do
  :: n < 2 ->
     atomic { STEP(p) seen = nd[n] }
     if
     :: seen > NOW -> m = seen
     :: seen <= NOW && left == 0 -> m = (bug == BUG_BUDGET -> NEVER : seen)
     :: else ->
        if :: bug != BUG_STORE -> atomic { STEP(p) nd[n] = NEVER } :: else fi;  /* S1 */
        m = NEVER;
        b = n * 2;
        do
        :: b < 3 && b / 2 == n ->
           atomic { STEP(p) seen = bk[b] }
           if
           :: seen > NOW -> LOWER(m, seen)
           :: seen <= NOW && left == 0 -> if :: bug != BUG_BUDGET -> LOWER(m, seen) :: else fi
           :: else ->
              left--;
              atomic { STEP(p) intent[p] = b }                            /* S0 */
              atomic { if :: WALL -> STEP(p) :: else fi; o = offset }           /* O1 */
              if :: bug != BUG_STORE -> atomic { STEP(p) bk[b] = NEVER } :: else fi;  /* S1 */
              atomic { STEP(p) if :: DUE(rec[b]) -> rec[b] = 0 :: else fi; seen = LEFT(b); w = wall[b] && rec[b] != 0 }  /* S2 */
              if :: w -> atomic { STEP(p) seen = RECKONED(seen, w); w = 0 } :: else fi;
              if
              :: bug == BUG_STORE -> atomic { STEP(p) bk[b] = seen }
              :: else -> atomic { STEP(p) LOWER(bk[b], seen) }            /* S3 */
              fi;
              look_again(p, b, o);
              o = 0;
              atomic { STEP(p) LOWER(seen, bk[b]) }
              LOWER(m, seen)
           fi;
           b++
        :: else -> break
        od;
        if :: bug == BUG_STORE -> atomic { STEP(p) nd[n] = m } :: else -> atomic { STEP(p) LOWER(nd[n], m) } fi  /* S3 */
     fi;
     LOWER(r, m);
     d_step { n++; b = 0; m = 0; seen = 0 }
  :: else -> break
  od;
  if :: bug == BUG_STORE -> atomic { STEP(p) root = r } :: else -> atomic { STEP(p) LOWER(root, r) } fi;  /* S3 */
done:
  atomic { fin[p] = 1; n = 0; r = 0; seen = 0; left = 0 }
died:
  skip;
  d_step { o = 0; w = 0; low = 0 }
}
/* The supervisor's thread that sweeps: V0-V2. */
proctype Reviser() {
  byte b;
  bool low;
again:
  if
  :: offset == NEW -> goto over
  :: else
  fi;
  if :: bug != BUG_LATEV0 -> atomic { STEP(SUP) offset = (bug == BUG_NOREVISING -> NEW : REVISING) } :: else fi;  /* V0 */
  do
  :: b < 3 && bug != BUG_NOV1 ->                                             /* V1 */
     atomic { STEP(SUP) low = (bk[b] == NEVER) }
     if :: low -> low = 0 :: else -> lower(SUP, b, 0) fi;
     b++
  :: else -> break
  od;
  atomic { STEP(SUP) offset = NEW; b = 0 }                                   /* V2 */
  goto over;
died:
  skip;
  d_step { b = 0; low = 0 }
  goto again;
over:
  skip
}
#define OVER(p) (fin[p] || recovered[p])
proctype Supervisor() {
  byte q, b, d, o;
  bool low, w;
again:
  do
  :: atomic { dead[0] && !recovered[0] -> q = 0 } goto recover
  :: atomic { dead[1] && !recovered[1] -> q = 1 } goto recover
  :: atomic { dead[2] && !recovered[2] -> q = 2 } goto recover
  :: atomic { dead[3] && !recovered[3] -> q = 3 }
recover:
     b = intent[q];
     if
     :: bug != BUG_NOTEND ->
        atomic { if :: WALL -> STEP(SUP) :: else fi; o = offset }               /* O1 */
        atomic { STEP(SUP) if :: DUE(rec[b]) -> rec[b] = 0 :: else fi; d = LEFT(b); w = wall[b] && rec[b] != 0 }
        if :: w -> atomic { STEP(SUP) d = RECKONED(d, w); w = 0 } :: else fi;
        if :: d != NEVER -> lower(SUP, b, d) :: else fi;
        look_again(SUP, b, o);
        o = 0
     :: else
     fi;
     if
     :: sweeps[q] && bug != BUG_NOREBUILD ->
        b = 0;
        do
        :: b < 3 -> atomic { STEP(SUP) d = bk[b] }; if :: d != NEVER -> lower(SUP, b, d) :: else fi; b++
        :: else -> break
        od
     :: else
     fi;
     atomic { STEP(SUP) recovered[q] = 1; q = 0; b = 0; d = 0 }
  :: atomic { OVER(0) && OVER(1) && OVER(2) && OVER(3) && (!WALL || offset == NEW) -> break }
  od;
  b = 0;
  do
  :: b < 3 ->
     d = RECKONED(rec[b], wall[b]);
     assert(rec[b] == 0 || (bk[b] <= d && nd[b / 2] <= d && root <= d));
     b++
  :: else -> break
  od;
  goto over;
died:
  skip;
  d_step { q = 0; b = 0; d = 0; o = 0; w = 0; low = 0 }
  goto again;
over:
  skip
}
init {
  atomic {
    COMMON_PARAMETERS
    c_code {
      WHO = param("WHO", 7); NEAR = param("NEAR", 1); VISITS = param("VISITS", 1);
      D0 = param("D0", 1); D1 = param("D1", 2); WALL = param("WALL", 0);
    }
    root = 1; nd[0] = 1; nd[1] = 2 + WALL; bk[0] = 1; bk[1] = NEVER; bk[2] = 2 + WALL; rec[0] = 1; rec[2] = 2; wall[2] = WALL;
    if :: WHO & 1 -> run Writer(0, 0, D0) :: else -> fin[0] = 1 fi;
    if :: (WHO & 2) && NEAR -> run Writer(1, 1, D1) :: (WHO & 2) && !NEAR -> run Writer(1, 2, D1) :: else -> fin[1] = 1 fi;
    if :: WHO & 4 -> run Sweeper(2, VISITS) :: else -> fin[2] = 1 fi;
    if :: WHO & 8 -> run Sweeper(3, 2) :: else -> fin[3] = 1 fi;
    if :: WALL -> run Reviser() :: else fi;
    run Supervisor()
  }
}
